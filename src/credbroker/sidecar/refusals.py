"""What was refused, counted by its reason, and told to the operator without being flooded."""

from __future__ import annotations

import logging
from collections.abc import Callable

from credbroker.sidecar.protocol import Refusal

logger = logging.getLogger("credbroker.sidecar")

_TOLD_EVERY = 10.0
"""Seconds: an attacker who may write a line for each request could fill the disk, or hide one line among thousands."""


class Refusals:
    """Counts refusals. Their codes are ours, so that the labels are a closed set."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self._elapsed = elapsed
        self._told: dict[str, tuple[float, int]] = {}

    def note(self, refusal: Refusal, binding: str | None = None) -> None:
        count = self.counts[refusal.code] = self.counts.get(refusal.code, 0) + 1
        at, before = self._told.get(refusal.code, (float("-inf"), 0))
        now = self._elapsed()
        if now - at >= _TOLD_EVERY:
            self._told[refusal.code] = (now, count)
            where, more = f" by {binding}" if binding is not None else "", count - before
            logger.warning("refused%s with %d: %s (%d since the last line)", where, refusal.status, refusal.message, more)
