"""Waiting for a flight, in a thread or in an event loop, and ending it when its deadline passes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from credbroker.context import Clock
from credbroker.refresh.flight import Flight, Outcome

if TYPE_CHECKING:
    import asyncio

Overdue = Callable[[Flight, float], None]
"""Called with a flight and the time: ends the flight if its deadline has passed."""


def in_thread(flight: Flight, until: float, clock: Clock, overdue: Overdue) -> Outcome | None:
    """Block this thread until the flight ends; None at the elapsed instant ``until``."""
    while True:
        now = clock.elapsed()
        outcome = flight.wait(max(0.0, min(_patience(flight, now), until - now)))
        if outcome is not None:
            return outcome
        now = clock.elapsed()
        if now >= until:
            return None
        overdue(flight, now)


def in_loop(flight: Flight, until: float, clock: Clock, overdue: Overdue) -> Awaitable[Outcome | None]:
    """As ``in_thread``, to be awaited in an event loop.

    No coroutine of its own, nor a closure, for each waiter: it is objects, and the collector's looking at them, that ten
    thousand waiters cost.
    """
    import asyncio  # loaded already by whoever runs this coroutine

    waiter = flight.waiter(asyncio.get_running_loop(), _watch, clock, overdue)
    return waiter if until == math.inf else _until(waiter, until, clock)


async def _until(waiter: asyncio.Future[Outcome], until: float, clock: Clock) -> Outcome | None:
    import asyncio

    await asyncio.wait((waiter,), timeout=max(0.0, until - clock.elapsed()))
    return waiter.result() if waiter.done() else None


def _watch(flight: Flight, loop: asyncio.AbstractEventLoop, clock: Clock, overdue: Overdue) -> asyncio.TimerHandle:
    """One timer for all waiters of a loop: one for each of ten thousand would cost more than waking them does."""
    return loop.call_later(max(0.0, _patience(flight, clock.elapsed())), _look, flight, loop, clock, overdue)


def _look(flight: Flight, loop: asyncio.AbstractEventLoop, clock: Clock, overdue: Overdue) -> None:
    overdue(flight, clock.elapsed())
    if flight.outcome is None:
        flight.rearm(loop, _watch(flight, loop, clock, overdue))


def _patience(flight: Flight, now: float) -> float:
    return flight.slot.timeout if flight.deadline is None else flight.deadline - now
