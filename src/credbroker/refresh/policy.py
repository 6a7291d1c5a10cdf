"""When a value is fresh, stale and over, and when a failed issue is tried again: pure arithmetic on elapsed seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 900.0
"""A ``Retry-After`` beyond this is an issuer's mistake (or malice): a quarter of an hour, then it is asked again."""
SHORTEST_RETRY = 0.1
GRANT_DENIALS_APART = 5.0
"""Two refusals of the grant this far apart withdraw what is held: one alone may be a replica that lags behind."""
FIRST_INVALIDATION_GAP = 30.0
LONGEST_INVALIDATION_GAP = 300.0


class State(Enum):
    """FRESH is served, STALE is served while it is replaced, EXPIRED is never handed out."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Instants:
    """The life of one value in elapsed seconds, counted from before its request was sent."""

    sent: float
    refresh_at: float
    usable_until: float
    over_at: float
    """The end by the issuer's word, without the guard."""

    @property
    def usable_life(self) -> float:
        return self.usable_until - self.sent

    def state(self, now: float) -> State:
        if now < self.refresh_at:
            return State.FRESH
        return State.STALE if now < self.usable_until else State.EXPIRED


def guard(lifetime: float) -> float:
    """The last part of a lifetime that is never used: servers count whole seconds, and the request itself travels."""
    return min(lifetime / 3, max(1.5, lifetime / 60), 15.0)


def instants(sent: float, lifetime: float, jitter: float) -> Instants:
    """The instants of a value that lives ``lifetime`` seconds from ``sent``; ``jitter`` is drawn from [0, 1).

    One rule for a session of four seconds and one of twelve hours: the last quarter of the usable life, at most a quarter of
    an hour, is for the refresh. The jitter keeps a fleet that started together from asking together.
    """
    usable = lifetime - guard(lifetime)
    ahead = min(usable / 4, 900.0)
    return Instants(sent, sent + usable - ahead - jitter * ahead / 10, sent + usable, sent + lifetime)


def reread_instants(sent: float, interval: float) -> Instants:
    """The instants of a value without an end, which is only read again now and then."""
    return Instants(sent, sent + interval, math.inf, math.inf)


def retry_delay(
    failures: int, jitter: float, *, life_left: float = 0.0, retry_after: float | None = None, once_early: bool = True
) -> float:
    """Seconds until the next try after ``failures`` in a row; ``jitter`` is drawn from [0, 1).

    While a value is held (``life_left`` above 0) at most a quarter of its life is waited. What the issuer asked for is
    honoured, save that one try (``once_early``) is made before the held value ends.
    """
    delay = min(LONGEST_BACKOFF, 2.0 ** min(failures - 1, 10)) * (0.5 + jitter / 2)
    soon = max(SHORTEST_RETRY, life_left / 4)
    if life_left > 0:
        delay = min(delay, soon)
    if retry_after is None:
        return delay
    wanted = max(delay, min(retry_after, LONGEST_RETRY_AFTER))
    if 0 < life_left <= wanted and once_early:
        return soon
    return wanted
