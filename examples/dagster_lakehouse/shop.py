"""The source: a shop that hands out its orders a day at a time, as texts, with doubles and with rows that are no orders."""

import random
import time
from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa

DAYS = 20
ORDERS_A_DAY = 500
GOOD_ORDERS = DAYS * ORDERS_A_DAY
SECONDS_A_DAY = 0.5
"""It is slow, as such systems are: all of it takes longer than a session of the store lasts."""

_FIRST_DAY = date(2026, 11, 1)
_COUNTRIES = ("AT", "BR", "JP", "KE", "NO")


def days() -> Iterator[pa.Table]:
    """A table for each day; the same ones at each call."""
    made_up = random.Random(7)  # noqa: S311 - orders, not keys
    for number in range(DAYS):
        time.sleep(SECONDS_A_DAY)
        day = (_FIRST_DAY + timedelta(days=number)).isoformat()
        orders = [
            {
                "day": day,
                "order_id": f"{day}/{order}",
                "country": made_up.choice(_COUNTRIES),
                "amount": f"{made_up.randrange(100, 50_000) / 100:.2f}",
            }
            for order in range(ORDERS_A_DAY)
        ]
        doubles = made_up.sample(orders, 10)
        broken = [{**order, "order_id": f"{order['order_id']}x", "amount": "n/a"} for order in doubles[:5]]
        yield pa.Table.from_pylist([*orders, *doubles, *broken])
