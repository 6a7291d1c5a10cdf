"""Flight: one issue for all who wait for it, threads and coroutines alike."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError
from credbroker.refresh.slot import Slot

if TYPE_CHECKING:
    import asyncio  # for its names only: a program without coroutines need not load it

    from credbroker.refresh.workers import Worker


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a flight ended: a value, or an error kept only as a pattern. ``outdated``: purge, close or reload came between.

    The pattern carries no traceback; every waiter raises a fresh error made from it, because one error object raised by a
    hundred threads collects their frames and with them their locals.
    """

    value: Credential | None = None
    error: CredbrokerError | None = None
    outdated: bool = False
    usable_until: float = math.inf
    """Of the value: a waiter that wakes late must not hand it out."""


@dataclass(slots=True)
class _Fan:
    """The waiters of one event loop, and the timer that watches the flight's deadline for all of them."""

    timer: asyncio.TimerHandle
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list)

    def resolve(self, outcome: Outcome) -> None:
        self.timer.cancel()
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(outcome)


class Flight:
    """One issue under way. It is claimed once, ends once, and tells all who wait.

    Neither a cancelled coroutine nor a thread that gave up ends it: each waiter waits on something of its own.
    """

    __slots__ = ("_done", "_fans", "_lock", "asked", "claimed", "deadline", "demand", "outcome", "slot", "worker")

    def __init__(self, slot: Slot, *, demand: float | None = None) -> None:
        self.slot = slot
        self.asked = slot.asked
        """Who caused it: of a refresh in the background, whoever found the slot last."""
        self.demand = demand
        """Seconds of usable life that a caller demanded and the held value has not; None: made for another reason."""
        self.claimed = False
        self.deadline: float | None = None
        """Elapsed seconds at which it ends whatever the provider does; None until somebody runs it."""
        self.worker: Worker | None = None
        self.outcome: Outcome | None = None
        self._lock = threading.RLock()
        self._done = threading.Event()
        self._fans: dict[asyncio.AbstractEventLoop, _Fan] = {}

    def claim(self, now: float, worker: Worker | None) -> bool:
        """Whether the caller is the one to run it; from then on its deadline counts."""
        with self._lock:
            if self.claimed or self.outcome is not None:
                return False
            self.claimed = True
            self.worker = worker
            self.deadline = now + self.slot.timeout
            return True

    def end(self, outcome: Outcome) -> bool:
        """Resolve it and wake everybody; False if it had ended before."""
        with self._lock:
            if self.outcome is not None:
                return False
            self.outcome = outcome
            fans, self._fans = self._fans, {}
        self._done.set()
        for loop, fan in fans.items():
            try:
                # One wake-up a loop, not one a waiter: ten thousand coroutines cost one call across threads.
                loop.call_soon_threadsafe(fan.resolve, outcome)
            except RuntimeError:
                continue  # that loop is closed, and its waiters with it
        return True

    def wait(self, timeout: float) -> Outcome | None:
        """Block this thread for at most ``timeout`` seconds."""
        self._done.wait(timeout)
        return self.outcome

    def waiter(
        self, loop: asyncio.AbstractEventLoop, watch: Callable[..., asyncio.TimerHandle], *arguments: object
    ) -> asyncio.Future[Outcome]:
        """A future of ``loop``, to be called in that loop: it gets the outcome, and cancelling it cancels nothing else.

        ``watch(self, loop, *arguments)`` is called for the loop's first waiter and arms the timer that keeps the deadline.
        """
        future: asyncio.Future[Outcome] = loop.create_future()
        with self._lock:
            if self.outcome is None:
                fan = self._fans.get(loop)
                if fan is None:
                    fan = self._fans[loop] = _Fan(watch(self, loop, *arguments))
                fan.waiters.append(future)
                return future
        future.set_result(self.outcome)
        return future

    def rearm(self, loop: asyncio.AbstractEventLoop, timer: asyncio.TimerHandle) -> None:
        """The timer ran before the flight ended: keep the next one instead."""
        with self._lock:
            fan = self._fans.get(loop)
            if fan is not None:
                fan.timer = timer
                return
        timer.cancel()
