from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic_core import PydanticCustomError

from credbroker.config.values import duration

PARSE = duration(timedelta(milliseconds=100), timedelta(hours=12))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1h", timedelta(hours=1)),
        ("15m", timedelta(minutes=15)),
        ("90s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        (900, timedelta(seconds=900)),
        ("900", timedelta(seconds=900)),
        (timedelta(minutes=2), timedelta(minutes=2)),
    ],
)
def test_a_duration_is_read(given: object, expected: timedelta) -> None:
    assert PARSE(given) == expected


@pytest.mark.parametrize(
    "given", ["1d", "1.5h", "", "h", "-1s", "1h30m", "1 h", True, 1.5, None, "٣s", "9" * 400, [1], "1:30"]
)
def test_what_is_no_duration_is_refused(given: object) -> None:
    with pytest.raises(PydanticCustomError, match="must be a duration: 1h, 15m, 90s, 500ms, or a whole number of seconds"):
        PARSE(given)


@pytest.mark.parametrize("given", [0, "99ms", "13h", "999999999h"])
def test_a_duration_out_of_bounds_is_refused(given: object) -> None:
    with pytest.raises(PydanticCustomError, match="must be between 100ms and 12h"):
        PARSE(given)
