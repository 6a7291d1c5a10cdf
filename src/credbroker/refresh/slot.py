"""Slot: the unit of a hit, and all that is remembered of one key."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError
from credbroker.refresh.policy import FIRST_INVALIDATION_GAP, Instants

if TYPE_CHECKING:
    from credbroker.refresh.flight import Flight

Held = tuple[Any, float]
"""A value and the instant up to which it is served without a thought: ``refresh_at``, later while a refresh is under way."""
NOTHING: Final[Held] = (None, -math.inf)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader brings: a value, and its lifetime in seconds from ``sent`` (elapsed seconds); None: it has no end."""

    value: Credential
    sent: float
    lifetime: float | None
    reread: float


class Listener(Protocol):
    """Somebody who is told of each new value of a slot, and finds the next slot when this one is retired."""

    def refreshed(self, value: Credential) -> None: ...

    def reattach(self) -> None: ...


class Slot:
    """What is held for one key. ``held`` and ``used`` are the hit path; all else belongs to the engine's lock.

    A hit reads the tuple ``held`` once, so value and instant always belong together, and writes ``used``; it takes no lock.
    """

    __slots__ = (
        "__weakref__",
        "asked",
        "denied_at",
        "failure",
        "failures",
        "flight",
        "held",
        "instants",
        "invalidate_after",
        "invalidated_at",
        "invalidation_gap",
        "issued",
        "key",
        "listeners",
        "live",
        "load",
        "longest",
        "made_of",
        "missing",
        "profile",
        "refused",
        "refused_served",
        "retry_after_spent",
        "retry_at",
        "timeout",
        "too_short",
        "too_short_until",
        "used",
        "used_before",
    )

    def __init__(
        self,
        key: Hashable,
        *,
        profile: str = "",
        load: Callable[[Slot, Flight], Loaded] | None = None,
        timeout: float = 10.0,
        asked: Any = None,
        longest: float = math.inf,
    ) -> None:
        self.key = key
        self.profile = profile
        self.load = load
        self.timeout = timeout
        self.asked = asked
        """Who found this slot last, or caused its latest issue: what differs between equal keys (a run) is told by it."""
        self.longest = longest
        """Seconds that a value may live at most: who demands more is not worth a call."""
        self.live = load is not None
        self.listeners: tuple[Listener, ...] = ()
        """Replaced as a whole under the lock, never changed: it is read without one."""
        self.issued = False
        """Whether a value was ever held here: nothing is issued before somebody gets."""

        self.held: Held = NOTHING
        self.instants: Instants | None = None
        self.used = False
        self.used_before = False
        """The mark that an eviction's second chance took away; it still counts for the refresher."""

        self.flight: Flight | None = None
        self.failures = 0
        self.failure: CredbrokerError | None = None
        self.retry_at = -math.inf
        self.retry_after_spent = False
        self.denied_at: float | None = None
        self.missing = 0

        self.too_short = 0
        self.too_short_until = -math.inf

        self.made_of: dict[str, str] = {}
        """The fingerprints of the profile's own credentials that the latest value was made of, by their names."""
        self.refused: str | None = None
        self.refused_served = False
        self.invalidated_at = -math.inf
        self.invalidate_after = -math.inf
        self.invalidation_gap = FIRST_INVALIDATION_GAP

    @property
    def wanted(self) -> bool:
        """Whether anybody has used the value since it was issued, or waits to be told of the next one."""
        return self.used or self.used_before or bool(self.listeners)

    def usable(self, now: float) -> bool:
        return self.instants is not None and self.held is not NOTHING and now < self.instants.usable_until

    def hold(self, value: Credential, instants: Instants) -> None:
        self.instants = instants
        self.issued = True
        self.used = self.used_before = False
        self.held = (value, instants.refresh_at)

    def serve_until(self, instant: float) -> None:
        """Nothing is to be decided about the held value before ``instant``: until then, or its end, it is a hit.

        While its refresh is under way, or waits for its next try, a stale value costs what a fresh one does.
        """
        if self.instants is not None:
            self.held = (self.held[0], min(instant, self.instants.usable_until))

    def drop(self) -> None:
        """Hold nothing any more; what is remembered of failures stays."""
        self.held = NOTHING
        self.instants = None

    def retire(self) -> None:
        """Leave the store for good: whoever still has this slot takes the slow path and finds another one."""
        self.live = False
        self.drop()
        self.flight = None
        self.load = None

    def succeed(self) -> None:
        """Forget the failures."""
        self.failures = 0
        self.failure = None
        self.retry_at = -math.inf
        self.retry_after_spent = False
        self.denied_at = None
        self.missing = 0
