"""Store: the bounded map from key to slot. It is touched on the slow path only, under the engine's lock."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from cachetools import FIFOCache

from credbroker.refresh.slot import Slot

DEFAULT_SIZE = 10_000
_LOOKS = 64
"""At how many an eviction looks: where all 10,000 are used, looking at each would stop every slow path for 60 ms."""


class Store(FIFOCache[Hashable, Slot]):
    """First in, first out, with a second chance for what was used since it was last looked at.

    The use mark is written by hits without a lock, which a least-recently-used order would need.
    """

    def __init__(self, size: int, evicted: Callable[[Slot], None]) -> None:
        super().__init__(size)
        self._evicted = evicted

    def popitem(self) -> tuple[Hashable, Slot]:
        """Make room: called when the map is full."""
        for _ in range(min(len(self), _LOOKS)):
            oldest = next(iter(self))
            slot = self[oldest]
            if slot.flight is None and not slot.used and not slot.listeners:
                break
            slot.used_before = slot.used_before or slot.used
            slot.used = False
            del self[oldest]
            self[oldest] = slot  # at the end of the order now
        key, slot = super().popitem()
        self._evicted(slot)
        return key, slot
