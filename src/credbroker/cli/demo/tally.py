"""What passed in front of the store during one run, and what follows from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

EXPIRED_CODES = frozenset({"InvalidAccessKeyId", "ExpiredToken", "ExpiredTokenException", "InvalidToken"})
"""What stores answer to keys whose session is over. SeaweedFS says the first: it knows a session by its token alone."""

_BAD_REQUEST = 400
_FORBIDDEN = (_BAD_REQUEST, 401, 403)


@dataclass(frozen=True, slots=True)
class Passage:
    """One request and the store's answer to it.

    ``at`` is when it came, in seconds of the monotonic clock. ``code`` is the error code in the answer; one to HEAD has
    none. ``is_data`` says that it read a data file.
    """

    at: float
    method: str
    path: str
    key_id: str
    status: int
    code: str | None
    is_data: bool

    @property
    def refused_expired(self) -> bool:
        """Whether the store refused the keys themselves, not what was asked with them.

        A bare 403 to HEAD does not say which; it is counted here, as a run asks for nothing that it has no right to.
        """
        return self.code in EXPIRED_CODES or (self.code is None and self.status in _FORBIDDEN)

    @property
    def denied(self) -> bool:
        """Whether the keys were good and what was asked with them is not allowed."""
        return self.code == "AccessDenied"


class Tally:
    """A run's passages; safe to read while it goes on."""

    def __init__(self, *, ignore: frozenset[str] = frozenset(), on_passage: Callable[[Passage], None] | None = None) -> None:
        self._ignore = ignore
        self._on_passage = on_passage
        self._lock = threading.Lock()
        self._passages: list[Passage] = []

    def note(self, passage: Passage) -> None:
        """Enter one, unless its keys are ignored."""
        if passage.key_id in self._ignore:
            return
        with self._lock:
            self._passages.append(passage)
        if self._on_passage is not None:
            self._on_passage(passage)

    @property
    def passages(self) -> tuple[Passage, ...]:
        """Everything so far, in the order in which the store answered."""
        with self._lock:
            return tuple(self._passages)

    @property
    def requests(self) -> int:
        """How many requests the store answered."""
        return len(self.passages)

    @property
    def refused_expired(self) -> int:
        """How many of them it refused because the keys had expired."""
        return sum(passage.refused_expired for passage in self.passages)

    @property
    def denied(self) -> int:
        """How many it refused because the keys do not reach there."""
        return sum(passage.denied for passage in self.passages)

    @property
    def opens(self) -> tuple[Passage, ...]:
        """The first good GET of each data file, by time of asking: when that file was opened for reading."""
        first: dict[str, Passage] = {}
        for passage in sorted(self.passages, key=lambda one: one.at):
            if passage.is_data and passage.method == "GET" and passage.status < _BAD_REQUEST:
                first.setdefault(passage.path, passage)
        return tuple(first.values())

    @property
    def replaced(self) -> int:
        """How many times the keys were other ones than before, from the first to the last open of a data file.

        Keys that were drawn but opened no file do not count, nor do keys from before the first open or after the last.
        """
        return max(0, len({passage.key_id for passage in self.opens}) - 1)
