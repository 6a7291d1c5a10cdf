"""The engine: one flight a key, the held value served while it lasts, failures remembered, nothing over ever handed out.

Every decision is taken under one short lock and every wait happens outside it. A hit never comes here.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credbroker.context import Clock
from credbroker.credentials import Credential
from credbroker.errors import (
    BrokerClosed,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    SecretNotFound,
)
from credbroker.refresh import policy
from credbroker.refresh.flight import Flight, Outcome
from credbroker.refresh.refresher import Refresher
from credbroker.refresh.slot import NOTHING, Loaded, Slot
from credbroker.refresh.store import DEFAULT_SIZE, Store
from credbroker.refresh.workers import Worker, Workers
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("credbroker.refresh")


@dataclass(frozen=True, slots=True)
class _Wait:
    """Wait for ``flight``; ``held`` is what to serve if it brings nothing, up to ``until``."""

    flight: Flight
    held: Credential | None = None
    until: float = math.inf


Gone = object()
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
        self._lock = threading.Lock()
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
        with self._lock:
            gone = [key for key, slot in self._store.items() if wanted(slot)]
            ended = [self._remove(key) for key in gone]
        self._end_outdated(ended)
        return len(gone)

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
        self._note_retired(slot)
        slot.retire()

    def _end_outdated(self, flights: list[Flight | None]) -> None:
        for flight in flights:
            if flight is not None:
                flight.end(Outcome(outdated=True))
        self._tell_retired()

    def _note_retired(self, slot: Slot) -> None:
        value = slot.held[0]
        if value is not None and self._on_retired is not None:
            self._retired.append((slot, value, slot.used or slot.used_before))

    def _tell_retired(self) -> None:
        while self._retired and self._on_retired is not None:
            try:
                noted = self._retired.pop()
            except IndexError:
                return
            self._on_retired(*noted)

    # -- get -----------------------------------------------------------------------------------------------------------

    def get(self, slot: Slot, demand: float | None, wait: bool, asked: Any) -> Any:
        """The slot's value with at least ``demand`` seconds left, or ``Gone``; blocks while its issue is under way.

        ``wait``: where the held value is stale, wait for its replacement, but not beyond the value's end.
        Raises what the issue raised.
        """
        decision = self._decide(slot, demand, wait, asked)
        if not isinstance(decision, _Wait):
            return decision
        outcome = self._await(decision)
        return self._settle(decision, outcome, demand)

    async def aget(self, slot: Slot, demand: float | None, wait: bool, asked: Any) -> Any:
        """As ``get``, without blocking the event loop."""
        decision = self._decide(slot, demand, wait, asked)
        if not isinstance(decision, _Wait):
            return decision
        outcome = await self._await_in_loop(decision)
        return self._settle(decision, outcome, demand)

    def get_inline(self, slot: Slot, asked: Any) -> Any:
        """As ``get``, from the thread of another flight: an issue that nobody runs yet runs here.

        All workers may be waiting for this very value; queued behind them it would never be issued.
        """
        decision = self._decide(slot, None, False, asked, inline=True)
        if not isinstance(decision, _Wait):
            return decision
        self._run(decision.flight, None)
        outcome = self._await(decision)
        return self._settle(decision, outcome, None)

    def _decide(self, slot: Slot, demand: float | None, wait: bool, asked: Any, *, inline: bool = False) -> Any:
        with self._lock:
            if not slot.live:
                return Gone
            now = self.clock.elapsed()
            if slot.usable(now):
                decision = self._decide_held(slot, now, demand, wait)
            else:
                decision = _Wait(slot.flight) if slot.flight is not None else self._claim_miss(slot, now)
            if not (isinstance(decision, _Wait) and slot.flight is decision.flight):
                return decision
            slot.asked = asked
            starting = decision.flight not in self._running
            self._running.add(decision.flight)
        if starting and not inline:
            self._launch(decision.flight, needed=decision.held is None)
            if decision.held is not None and not wait:
                return decision.held
        return decision

    def _decide_held(self, slot: Slot, now: float, demand: float | None, wait: bool) -> Any:
        value, refresh_at = slot.held
        instants = slot.instants
        assert instants is not None  # noqa: S101 - usable() looked
        left = instants.usable_until - now
        if demand is not None and left < demand:
            if instants.usable_life < demand:
                raise _too_short(slot, demand, instants.usable_life)
            if now < slot.too_short_until:
                raise _too_short(slot, demand, left)
            if slot.flight is None:
                self._raise_remembered(slot, now)
                slot.flight = Flight(slot, for_demand=True)
            return _Wait(slot.flight)
        slot.used = True
        if now < refresh_at:
            return value
        if slot.flight is None and now >= slot.retry_at:
            slot.flight = Flight(slot)
        if slot.flight is None or (not wait and slot.flight in self._running):
            return value
        return _Wait(slot.flight, value, instants.usable_until)

    def _claim_miss(self, slot: Slot, now: float) -> _Wait:
        self._raise_remembered(slot, now)
        if slot.held is not NOTHING:
            self._note_retired(slot)
            slot.drop()
        slot.flight = Flight(slot)
        return _Wait(slot.flight)

    @staticmethod
    def _raise_remembered(slot: Slot, now: float) -> None:
        """An issuer that is down sees one call, not one a caller."""
        if slot.failure is not None and now < slot.retry_at:
            raise slot.failure.fresh()

    def _settle(self, decision: _Wait, outcome: Outcome | None, demand: float | None) -> Any:
        if outcome is None or outcome.error is not None:
            if decision.held is not None and self.clock.elapsed() < decision.until:
                return decision.held
            if outcome is None or outcome.error is None:
                return Gone
            raise outcome.error.fresh()
        if outcome.outdated:
            kept = decision.held is not None and decision.flight.slot.live and self.clock.elapsed() < decision.until
            return decision.held if kept else Gone
        if demand is not None:
            slot = decision.flight.slot
            with self._lock:
                instants = slot.instants
                left = instants.usable_until - self.clock.elapsed() if instants is not None else 0.0
            if left < demand:
                raise _too_short(slot, demand, left)
        return outcome.value

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _await(self, decision: _Wait) -> Outcome | None:
        flight = decision.flight
        while True:
            now = self.clock.elapsed()
            outcome = flight.wait(max(0.0, min(self._patience(flight, now), decision.until - now)))
            if outcome is not None:
                return outcome
            now = self.clock.elapsed()
            if now >= decision.until:
                return None
            self._end_if_overdue(flight, now)

    async def _await_in_loop(self, decision: _Wait) -> Outcome | None:
        import asyncio  # loaded already by whoever runs this coroutine

        loop, flight = asyncio.get_running_loop(), decision.flight
        waiter = flight.waiter(loop, lambda loop: self._watch(flight, loop))
        if decision.until == math.inf:
            return await waiter
        await asyncio.wait((waiter,), timeout=max(0.0, decision.until - self.clock.elapsed()))
        return waiter.result() if waiter.done() else None

    def _watch(self, flight: Flight, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
        return loop.call_later(max(0.0, self._patience(flight, self.clock.elapsed())), self._look, flight, loop)

    def _look(self, flight: Flight, loop: asyncio.AbstractEventLoop) -> None:
        self._end_if_overdue(flight, self.clock.elapsed())
        if flight.outcome is None:
            flight.rearm(loop, self._watch(flight, loop))

    @staticmethod
    def _patience(flight: Flight, now: float) -> float:
        return flight.slot.timeout if flight.deadline is None else flight.deadline - now

    def _end_if_overdue(self, flight: Flight, now: float) -> None:
        if flight.deadline is None or now < flight.deadline:
            return
        seconds = flight.slot.timeout
        self._finish(flight, IssuerUnavailable(f"no answer within {seconds:g} s", profile=flight.slot.profile))
        if flight.worker is not None:
            self._workers.abandon(flight.worker)

    # -- flights -------------------------------------------------------------------------------------------------------

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

    def _finish(self, flight: Flight, result: Loaded | CredbrokerError) -> None:
        slot = flight.slot
        stored, due = False, math.inf
        with self._lock:
            self._running.discard(flight)
            if flight.outcome is not None:
                return
            if slot.flight is not flight or not slot.live:
                outcome = Outcome(outdated=True)
            else:
                slot.flight = None
                now = self.clock.elapsed()
                if isinstance(result, Loaded):
                    outcome = self._store_value(slot, flight, result, now)
                    stored = outcome.value is result.value
                else:
                    outcome = self._remember(slot, result, now)
                due = slot.held[1] if slot.failures == 0 else slot.retry_at
            # Resolved under the lock: a caller who comes now finds either the flight or what it brought.
            flight.end(outcome)
        self._tell_retired()
        if outcome.outdated:
            return
        if self._refresher is not None:
            self._refresher.schedule(slot, due)
        if stored and outcome.value is not None:
            self._push(slot, outcome.value)

    def _store_value(self, slot: Slot, flight: Flight, loaded: Loaded, now: float) -> Outcome:
        value, old, held = loaded.value, slot.instants, slot.held[0]
        if loaded.lifetime is None:
            fresh = policy.reread_instants(loaded.sent, loaded.reread)
        else:
            fresh = policy.instants(loaded.sent, loaded.lifetime, self._jitter())
        if now >= fresh.usable_until:
            return self._remember(slot, InsufficientLifetime("the credential is over on arrival", profile=slot.profile), now)
        if held is not None and old is not None and now < old.usable_until < math.inf:
            same = held.fingerprint == value.fingerprint
            no_gain = fresh.over_at <= old.over_at + (1.0 if same else 0.0)
            if flight.for_demand and no_gain:
                # The issuer has nothing that lives longer: asking again at once would only be answered the same.
                slot.too_short += 1
                slot.too_short_until = now + policy.retry_delay(slot.too_short, self._jitter())
                return Outcome(value=held)
            if same and no_gain:
                # A metadata server hands out what it holds until that is nearly over: keep its instants, ask again later.
                slot.failures += 1
                slot.retry_at = now + policy.retry_delay(slot.failures, self._jitter(), life_left=old.usable_until - now)
                return Outcome(value=held)
        slot.refused_served = slot.refused is not None and value.fingerprint == slot.refused
        self._note_retired(slot)
        slot.succeed()
        slot.too_short, slot.too_short_until = 0, -math.inf
        slot.hold(value, fresh)
        return Outcome(value=value)

    def _remember(self, slot: Slot, error: CredbrokerError, now: float) -> Outcome:
        slot.failures += 1
        slot.failure = error
        if self._withdrawn(slot, error, now):
            self._note_retired(slot)
            slot.drop()
        left = slot.instants.usable_until - now if slot.usable(now) and slot.instants is not None else 0.0
        retry_after = error.retry_after.total_seconds() if error.retry_after is not None else None
        delay = policy.retry_delay(
            slot.failures, self._jitter(), life_left=left, retry_after=retry_after, once_early=not slot.retry_after_spent
        )
        slot.retry_after_spent = retry_after is not None and left > 0 and delay < retry_after
        slot.retry_at = now + delay
        return Outcome(error=error)

    @staticmethod
    def _withdrawn(slot: Slot, error: CredbrokerError, now: float) -> bool:
        """Whether the right to the held value is gone, and not only the way to its replacement blocked."""
        if isinstance(error, IssueDenied) and error.grant_denied:
            if slot.denied_at is None:
                slot.denied_at = now
            return now - slot.denied_at >= policy.GRANT_DENIALS_APART
        if isinstance(error, SecretNotFound) and slot.instants is not None and slot.instants.usable_until == math.inf:
            slot.missing += 1
            return slot.missing > 1
        return False

    def _push(self, slot: Slot, value: Credential) -> None:
        for listener in list(slot.listeners):
            try:
                listener.refreshed(value)
            except Exception as error:  # noqa: BLE001 - a caller's callback cannot stop the refresh
                logger.warning("a callback of on_refresh failed with %s", type(error).__name__)

    # -- invalidate ----------------------------------------------------------------------------------------------------

    def invalidate(self, slot: Slot, value: Credential) -> bool:
        """The server refused ``value``: drop it if it is still the current one.

        True: ask again, there is or may be another one. False: the issuer has been asked for another one a moment ago
        (at most once in 30 s for this reason, doubling to 5 min), so the refusal is the caller's answer.
        """
        refused = value.fingerprint
        with self._lock:
            held = slot.held[0]
            if not slot.live or held is None or held.fingerprint != refused:
                return True
            now = self.clock.elapsed()
            if now < slot.invalidate_after:
                return False
            lull = now - slot.invalidated_at > 2 * policy.LONGEST_INVALIDATION_GAP
            slot.invalidation_gap = (
                policy.FIRST_INVALIDATION_GAP if lull else min(2 * slot.invalidation_gap, policy.LONGEST_INVALIDATION_GAP)
            )
            slot.invalidated_at = now
            slot.invalidate_after = now + slot.invalidation_gap
            slot.refused = refused
            self._note_retired(slot)
            slot.drop()
        self._tell_retired()
        return True

    # -- background ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End what is overdue and start each refresh that is due. The background thread calls it; tests may."""
        now = self.clock.elapsed()
        with self._lock:
            overdue = [flight for flight in self._running if flight.deadline is not None and now >= flight.deadline]
            due = [slot for slot in self._store.values() if self._is_due(slot, now)] if self._refresher is None else []
        for flight in overdue:
            self._end_if_overdue(flight, now)
        for slot in due:
            self.refresh_in_background(slot)

    def refresh_in_background(self, slot: Slot) -> None:
        """Start the slot's refresh if it is due and its value is used."""
        with self._lock:
            if not self._is_due(slot, self.clock.elapsed()):
                return
            flight = slot.flight = Flight(slot)
            self._running.add(flight)
        self._launch(flight, needed=False)

    @staticmethod
    def _is_due(slot: Slot, now: float) -> bool:
        if not slot.live or slot.flight is not None or now < slot.retry_at:
            return False
        return slot.wanted and slot.held is not NOTHING and now >= slot.held[1]


def _too_short(slot: Slot, demand: float, has: float) -> InsufficientLifetime:
    text = f"min_ttl of {demand:g} s was demanded; the credential serves {max(has, 0):.1f} s"
    return InsufficientLifetime(text, profile=slot.profile)


def _closed() -> BrokerClosed:
    return BrokerClosed("the broker is closed: make a new one with Broker.from_yaml()")


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _clear_after_fork() -> None:
    for engine in list(_engines):
        engine.after_fork()


in_forked_child(_clear_after_fork)
