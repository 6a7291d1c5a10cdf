"""The engine: one flight a key, the held value served while it lasts, failures remembered, nothing over ever handed out.

Every decision is taken under one short lock and every wait happens outside it. A hit never comes here.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from credbroker.context import Clock
from credbroker.credentials import Credential
from credbroker.errors import BrokerClosed, CredbrokerError, IssuerUnavailable
from credbroker.refresh import rules, waiting
from credbroker.refresh.flight import Flight, Outcome
from credbroker.refresh.refresher import Refresher
from credbroker.refresh.rules import Wait
from credbroker.refresh.slot import Listener, Loaded, Slot
from credbroker.refresh.store import DEFAULT_SIZE, Store
from credbroker.refresh.workers import Worker, Workers
from credbroker.system.process import in_forked_child

logger = logging.getLogger("credbroker.refresh")


GONE = object()
"""What ``get`` returns for a slot that has left the store: look the key up again."""


class Engine:
    """Gets, refreshes, invalidates and purges the values of one broker.

    ``on_retired(slot, value, used)`` is told of each value that is replaced or dropped.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        background: bool = True,
        size: int = DEFAULT_SIZE,
        jitter: Callable[[], float] = random.random,
        on_retired: Callable[[Slot, Credential, bool], None] | None = None,
    ) -> None:
        self.clock = clock
        self._background = background
        self._size = size
        self._jitter = jitter
        self._on_retired = on_retired
        self._closed = False
        self._start_empty()
        _engines.add(self)

    def _start_empty(self) -> None:
        self._lock = threading.RLock()  # a signal handler may look in while this thread holds it
        self._store = Store(self._size, self._retire)
        self._running: set[Flight] = set()
        self._retired: list[tuple[Slot, Credential, bool]] = []
        self._workers = Workers()
        self._refresher = Refresher(self) if self._background else None

    # -- slots ---------------------------------------------------------------------------------------------------------

    def slot(self, key: Hashable, make: Callable[[], Slot]) -> Slot:
        """The live slot of that key; ``make`` is called, under the lock, where there is none. Raises ``BrokerClosed``."""
        with self._lock:
            if self._closed:
                raise _closed()
            slot = self._store.get(key)
            if slot is None:
                slot = self._store[key] = make()
        self._tell_retired()
        return slot

    def slots(self) -> list[Slot]:
        with self._lock:
            return list(self._store.values())

    def purge(self, wanted: Callable[[Slot], bool]) -> int:
        """Drop every slot that is ``wanted``; a flight under way for one is never stored. Returns how many there were."""
        return len(self.take(wanted))

    def take(
        self, wanted: Callable[[Slot], bool], first: Callable[[], None] | None = None
    ) -> list[tuple[Slot, Credential | None, bool]]:
        """As ``purge``, and return what was dropped: each slot, the value that it held, and whether an issue was under way.

        ``first`` is called under the lock: no flight ends, and no slot is made, between it and the purge.
        """
        with self._lock:
            if first is not None:
                first()
            gone = [(key, slot, slot.held[0], slot.listeners) for key, slot in self._store.items() if wanted(slot)]
            ended = [self._remove(key) for key, *_ in gone]
        self._end_outdated(ended)
        for *_, listeners in gone:
            for listener in listeners:
                listener.reattach()
        return [(slot, value, flight is not None) for (_, slot, value, _), flight in zip(gone, ended, strict=True)]

    def forgive(self) -> None:
        """Forget every failure: what was at fault may have been mended, so that the next caller asks at once."""
        with self._lock:
            for slot in self._store.values():
                slot.succeed()
                if slot.instants is not None and slot.flight is None:
                    slot.serve_until(slot.instants.refresh_at)
                    if self._refresher is not None:
                        self._refresher.schedule(slot, slot.instants.refresh_at)

    def close(self) -> None:
        """Drop everything and wake all who wait; nothing is waited for."""
        with self._lock:
            self._closed = True
            ended = [self._remove(key) for key in list(self._store)]
        self._end_outdated(ended)
        if self._refresher is not None:
            self._refresher.stop()

    def after_fork(self) -> None:
        """In a forked child: it inherits no value, no lock and no thread."""
        slots = [*self._store.values(), *(flight.slot for flight in self._running)]
        self._start_empty()
        for slot in slots:
            slot.retire()

    def _remove(self, key: Hashable) -> Flight | None:
        slot = self._store.pop(key)
        flight = slot.flight
        if flight is not None:
            self._running.discard(flight)
        self._retire(slot)
        return flight

    def _retire(self, slot: Slot) -> None:
        with self._noting(slot):
            slot.retire()

    def _end_outdated(self, flights: list[Flight | None]) -> None:
        for flight in flights:
            if flight is not None:
                flight.end(Outcome(outdated=True))
        self._tell_retired()

    @contextmanager
    def _noting(self, slot: Slot) -> Iterator[None]:
        """Note the value that the block replaces or drops; it is told once the lock is free."""
        value, used = slot.held[0], slot.used or slot.used_before
        try:
            yield
        finally:
            if slot.held[0] is not value:
                self._note(slot, value, used=used)

    def _note(self, slot: Slot, value: Credential | None, *, used: bool) -> None:
        if value is not None and self._on_retired is not None:
            self._retired.append((slot, value, used))

    def _tell_retired(self) -> None:
        while self._retired and self._on_retired is not None:
            try:
                noted = self._retired.pop()
            except IndexError:
                return
            self._on_retired(*noted)

    # -- listeners -----------------------------------------------------------------------------------------------------

    def listen(self, slot: Slot, listener: Listener, *, issued: bool = False) -> None:
        """Tell ``listener`` of each new value from now on; ``issued``: it has had one before, and waits for the next."""
        with self._lock:
            slot.listeners = (*slot.listeners, listener)
            slot.issued = slot.issued or issued
        if self._refresher is not None and issued:
            self._refresher.schedule(slot, -math.inf)

    def unlisten(self, slot: Slot, listener: Listener) -> None:
        with self._lock:
            slot.listeners = tuple(other for other in slot.listeners if other is not listener)

    # -- get -----------------------------------------------------------------------------------------------------------

    def get(self, slot: Slot, demand: float | None, wait: bool, asked: Any) -> Any:
        """The slot's value with at least ``demand`` seconds left, or ``GONE``; blocks while its issue is under way.

        ``wait``: where the held value is stale, wait for its replacement, but not beyond the value's end.
        Raises what the issue raised.
        """
        decision = self._decide(slot, demand, wait, asked)
        if not isinstance(decision, Wait):
            return decision
        outcome = waiting.in_thread(decision.flight, decision.until, self.clock, self._end_if_overdue)
        return self._settle(decision, outcome, demand)

    async def aget(self, slot: Slot, demand: float | None, wait: bool, asked: Any) -> Any:
        """As ``get``, without blocking the event loop."""
        decision = self._decide(slot, demand, wait, asked)
        if not isinstance(decision, Wait):
            return decision
        outcome = await waiting.in_loop(decision.flight, decision.until, self.clock, self._end_if_overdue)
        return self._settle(decision, outcome, demand)

    def get_inline(self, slot: Slot, asked: Any) -> Any:
        """As ``get``, from the thread of another flight: an issue that nobody runs yet runs here.

        All workers may be waiting for this very value; queued behind them it would never be issued.
        """
        decision = self._decide(slot, None, False, asked, inline=True)
        if not isinstance(decision, Wait):
            return decision
        self._run(decision.flight, None)
        outcome = waiting.in_thread(decision.flight, decision.until, self.clock, self._end_if_overdue)
        return self._settle(decision, outcome, None)

    def _decide(self, slot: Slot, demand: float | None, wait: bool, asked: Any, *, inline: bool = False) -> Any:
        with self._lock:
            if not slot.live:
                return GONE
            before = slot.held
            try:
                decision = rules.decide(slot, self.clock.elapsed(), demand, wait=wait)
            finally:
                if slot.held[0] is not before[0]:  # _noting() would cost each waiter more than all else here
                    self._note(slot, before[0], used=slot.used or slot.used_before)
            if not isinstance(decision, Wait):
                return decision
            starting = decision.flight not in self._running
            if starting:
                slot.asked = decision.flight.asked = asked
                self._running.add(decision.flight)
        if starting and not (inline and decision.held is None):
            self._launch(decision.flight, needed=decision.held is None)
            if decision.held is not None and not wait:
                return decision.held
        return decision

    def _settle(self, decision: Wait, outcome: Outcome | None, demand: float | None) -> Any:
        """What a waiter makes of a flight's outcome; ``GONE`` to decide anew."""
        now = self.clock.elapsed()
        if outcome is not None and outcome.value is not None:
            if now >= outcome.usable_until:
                return GONE
            if demand is not None and outcome.usable_until - now < demand:
                raise rules.too_short(decision.flight.slot, demand, outcome.usable_until - now)
            return outcome.value
        if decision.held is not None and now < decision.until and decision.flight.slot.live:
            return decision.held
        if outcome is not None and outcome.error is not None:
            raise outcome.error.fresh()
        return GONE

    # -- flights -------------------------------------------------------------------------------------------------------

    def _end_if_overdue(self, flight: Flight, now: float) -> None:
        if flight.deadline is None or now < flight.deadline:
            return
        seconds = flight.slot.timeout
        ended = self._finish(flight, IssuerUnavailable(f"no answer within {seconds:g} s", profile=flight.slot.profile))
        if ended and flight.worker is not None:
            self._workers.abandon(flight.worker)

    def _launch(self, flight: Flight, *, needed: bool) -> None:
        if self._workers.submit(lambda worker: self._run(flight, worker)):
            return
        if needed:
            self._run(flight, None)
            return
        with self._lock:  # no thread can start: the held value serves, and the next caller tries again
            self._running.discard(flight)
            if flight.slot.flight is flight:
                flight.slot.flight = None
                flight.slot.serve_until(-math.inf)
        flight.end(Outcome(outdated=True))

    def _run(self, flight: Flight, worker: Worker | None) -> None:
        if not flight.claim(self.clock.elapsed(), worker):
            return
        slot = flight.slot
        if self._refresher is not None and flight.deadline is not None:
            self._refresher.schedule(slot, flight.deadline)  # nobody may be waiting who would end it
        load = slot.load
        try:
            result: Loaded | CredbrokerError = load(slot, flight) if load is not None else _closed()
        except CredbrokerError as error:
            result = error.fresh(profile=slot.profile)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever; only its class is told
            result = IssuerUnavailable(
                f"the provider failed with {type(error).__name__}", profile=slot.profile, retryable=False
            )
        self._finish(flight, result)

    def _finish(self, flight: Flight, result: Loaded | CredbrokerError) -> bool:
        """End the flight with what it brought. False: it had ended before, and this result is nobody's."""
        slot = flight.slot
        news, due = False, math.inf
        with self._lock:
            self._running.discard(flight)
            if flight.outcome is not None:
                return False
            if slot.flight is not flight or not slot.live:
                outcome = Outcome(outdated=True)
            else:
                slot.flight = None
                now = self.clock.elapsed()
                before = slot.held[0]
                with self._noting(slot):
                    if isinstance(result, Loaded):
                        outcome = rules.took(slot, flight, result, now, self._jitter)
                        # A static secret that reads the same again is no news to anybody.
                        same = before is not None and before.fingerprint == result.value.fingerprint
                        news = outcome.value is result.value and not same
                    else:
                        outcome = rules.failed(slot, result, now, self._jitter)
                due = slot.held[1] if slot.failures == 0 else slot.retry_at
            # Resolved under the lock: a caller who comes now finds either the flight or what it brought.
            flight.end(outcome)
        self._tell_retired()
        if outcome.outdated:
            return True
        if self._refresher is not None:
            self._refresher.schedule(slot, due)
        if news and outcome.value is not None:
            self._push(slot, outcome.value)
        return True

    def _push(self, slot: Slot, value: Credential) -> None:
        for listener in slot.listeners:
            if slot.held[0] is not value:
                return  # replaced, or withdrawn, while another callback took its time: it would be told last
            try:
                listener.refreshed(value)
            except BaseException as error:  # noqa: BLE001 - a caller's callback cannot stop the refresh, whatever it raises
                logger.warning("a callback of on_refresh failed with %s", type(error).__name__)

    # -- invalidate ----------------------------------------------------------------------------------------------------

    def invalidate(self, slot: Slot, value: Credential) -> bool:
        """The server refused ``value``: drop it if it is still the current one.

        True: ask again, there is or may be another one. False: the issuer has been asked for another one a moment ago
        (at most once in 30 s for this reason, doubling to 5 min), so the refusal is the caller's answer.
        """
        with self._lock, self._noting(slot):
            again = rules.refused(slot, value, self.clock.elapsed())
        self._tell_retired()
        if self._refresher is not None and slot.listeners:
            self._refresher.schedule(slot, -math.inf)
        return again

    # -- background ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End what is overdue and start each refresh that is due. The background thread calls it; tests may."""
        now = self.clock.elapsed()
        with self._lock:
            overdue = [flight for flight in self._running if flight.deadline is not None and now >= flight.deadline]
            due = [slot for slot in self._store.values() if rules.is_due(slot, now)] if self._refresher is None else []
        for flight in overdue:
            self._end_if_overdue(flight, now)
        for slot in due:
            self.refresh_in_background(slot)

    def refresh_in_background(self, slot: Slot) -> None:
        """Start the slot's refresh if it is due and its value is used."""
        with self._lock:
            if not rules.is_due(slot, self.clock.elapsed()):
                return
            flight = rules.begin(slot)
            self._running.add(flight)
        self._launch(flight, needed=False)


def _closed() -> BrokerClosed:
    return BrokerClosed("the broker is closed: make a new one with Broker.from_yaml()")


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _clear_after_fork() -> None:
    for engine in list(_engines):
        engine.after_fork()


in_forked_child(_clear_after_fork)
