"""The rules of one slot: what a caller gets, what a flight's result changes, what a refusal changes.

Each is called under the engine's lock, moves the slot from one state to the next, and does no I/O and no waiting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError, InsufficientLifetime, IssueDenied, SecretNotFound
from credbroker.refresh import policy
from credbroker.refresh.flight import Flight, Outcome
from credbroker.refresh.slot import Loaded, Slot

Jitter = Callable[[], float]


class Wait(NamedTuple):
    """Wait for ``flight``; ``held`` is what to serve if it brings nothing, up to ``until``.

    One is made for each of ten thousand coroutines: a frozen dataclass takes three times as long to make.
    """

    flight: Flight
    held: Credential | None = None
    until: float = math.inf


def decide(slot: Slot, now: float, demand: float | None, *, wait: bool) -> Credential | Wait:
    """What a caller gets: the held value, or a flight to wait for, which is made where there is none.

    Raises the remembered failure, and ``InsufficientLifetime`` for a demand that cannot be met.
    """
    if slot.instants is None or not slot.usable(now):
        if demand is not None and demand > slot.longest:
            text = f"min_ttl of {demand:g} s was demanded; the profile's max_ttl is {slot.longest:g} s"
            raise InsufficientLifetime(text, profile=slot.profile)
        if slot.flight is None:
            _raise_remembered(slot, now)
            slot.drop()
            slot.flight = Flight(slot)
        return Wait(slot.flight)
    value: Credential = slot.held[0]
    left = slot.instants.usable_until - now
    if demand is not None and left < demand:
        return _demanded(slot, now, demand, left, slot.instants.usable_life)
    slot.used = True
    if now < slot.instants.refresh_at:
        return value
    flight = slot.flight
    if flight is None:
        if now < slot.retry_at:
            slot.serve_until(slot.retry_at)
            return value
        flight = begin(slot)
    elif not wait:
        return value
    return Wait(flight, value, slot.instants.usable_until)


def begin(slot: Slot) -> Flight:
    """A flight for the refresh of a held value, or for one that was lost."""
    slot.flight = Flight(slot)
    slot.serve_until(math.inf)
    return slot.flight


def _demanded(slot: Slot, now: float, demand: float, left: float, full: float) -> Wait:
    if full < demand:
        raise too_short(slot, demand, full)
    if now < slot.too_short_until:
        raise too_short(slot, demand, left)
    if slot.flight is None:
        _raise_remembered(slot, now)
        slot.flight = Flight(slot, demand=demand)
    return Wait(slot.flight)


def is_due(slot: Slot, now: float) -> bool:
    """Whether the background is to issue for it: its value is used and stale, or lost to a listener, and nobody is at it."""
    if not slot.live or slot.flight is not None or now < slot.retry_at:
        return False
    if slot.instants is None:
        return slot.issued and bool(slot.listeners)
    return slot.wanted and now >= slot.instants.refresh_at


def took(slot: Slot, flight: Flight, loaded: Loaded, now: float, jitter: Jitter) -> Outcome:
    """A flight brought a value: hold it, unless it is over already or brings nothing that the held one has not."""
    value, held, old = loaded.value, slot.held[0], slot.instants
    if loaded.lifetime is None:
        fresh = policy.reread_instants(loaded.sent, loaded.reread)
    else:
        fresh = policy.instants(loaded.sent, loaded.lifetime, jitter())
    if now >= fresh.usable_until:
        return failed(slot, InsufficientLifetime("the credential is over on arrival", profile=slot.profile), now, jitter)
    if flight.demand is not None and fresh.usable_until - now < flight.demand:
        # The issuer has nothing that lives as long: asking again at once would only be answered the same.
        slot.too_short += 1
        slot.too_short_until = now + policy.retry_delay(slot.too_short, jitter())
    else:
        slot.too_short, slot.too_short_until = 0, -math.inf
    if held is not None and old is not None and now < old.usable_until < math.inf:
        same = held.fingerprint == value.fingerprint
        no_gain = fresh.over_at <= old.over_at + (1.0 if same else 0.0)
        if no_gain and flight.demand is not None:
            return Outcome(value=held, usable_until=old.usable_until)
        if no_gain and same:
            # A metadata server hands out what it holds until that is nearly over: keep its instants, ask again later.
            failures = slot.failures + 1
            slot.succeed()
            slot.failures = failures
            slot.retry_at = now + policy.retry_delay(failures, jitter(), life_left=old.usable_until - now)
            slot.serve_until(slot.retry_at)
            return Outcome(value=held, usable_until=old.usable_until)
    slot.refused_served = slot.refused is not None and value.fingerprint == slot.refused
    slot.succeed()
    slot.hold(value, fresh)
    return Outcome(value=value, usable_until=fresh.usable_until)


def failed(slot: Slot, error: CredbrokerError, now: float, jitter: Jitter) -> Outcome:
    """A flight failed: remember it until the next try, and keep what is held unless the right to it is gone."""
    slot.failures += 1
    slot.failure = error
    if _withdrawn(slot, error, now):
        slot.drop()
    left = slot.instants.usable_until - now if slot.instants is not None and slot.usable(now) else 0.0
    retry_after = error.retry_after.total_seconds() if error.retry_after is not None else None
    delay = policy.retry_delay(
        slot.failures, jitter(), life_left=left, retry_after=retry_after, once_early=not slot.retry_after_spent
    )
    slot.retry_after_spent = retry_after is not None and left > 0 and delay < min(retry_after, policy.LONGEST_RETRY_AFTER)
    slot.retry_at = now + delay
    if slot.instants is not None:
        slot.serve_until(max(slot.retry_at, slot.instants.refresh_at))
    return Outcome(error=error)


def refused(slot: Slot, value: Credential, now: float) -> bool:
    """A server refused ``value``. True: there is or may be another one. See ``Engine.invalidate``."""
    held: Credential | None = slot.held[0]
    fingerprint = value.fingerprint
    if not slot.live or held is None or held.fingerprint != fingerprint:
        return True
    if now < slot.invalidate_after:
        return False
    lull = now - slot.invalidated_at > 2 * policy.LONGEST_INVALIDATION_GAP
    slot.invalidation_gap = (
        policy.FIRST_INVALIDATION_GAP if lull else min(2 * slot.invalidation_gap, policy.LONGEST_INVALIDATION_GAP)
    )
    slot.invalidated_at = now
    slot.invalidate_after = now + slot.invalidation_gap
    slot.refused = fingerprint
    slot.drop()
    return True


def too_short(slot: Slot, demand: float, has: float) -> InsufficientLifetime:
    """The error for a demand that the credential does not meet."""
    text = f"min_ttl of {demand:g} s was demanded; the credential serves {max(has, 0):.1f} s"
    return InsufficientLifetime(text, profile=slot.profile)


def _raise_remembered(slot: Slot, now: float) -> None:
    """An issuer that is down sees one call, not one a caller."""
    if slot.failure is not None and now < slot.retry_at:
        raise slot.failure.fresh()


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
