"""Refresher: the background thread that starts each refresh when it is due. It holds its engine weakly."""

from __future__ import annotations

import heapq
import itertools
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING

from credbroker.refresh import rules
from credbroker.refresh.slot import Slot

if TYPE_CHECKING:
    from credbroker.refresh.engine import Engine

logger = logging.getLogger("credbroker.refresh")

_FEW = 4096  # entries, above which those of retired slots are swept out
LONGEST_SLEEP = 15.0
"""Sleeping does not count the time that the machine was suspended; so it looks up this often."""


class Refresher:
    """Keeps the instants at which something is due, and a daemon thread that runs while there are any."""

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)
        self._due: list[tuple[float, int, weakref.ref[Slot]]] = []
        self._most = _FEW
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = False
        self._stopped = False

    def schedule(self, slot: Slot, at: float) -> None:
        """Look at ``slot`` at the elapsed instant ``at``. The thread starts with the first of these."""
        with self._changed:
            if self._stopped or sys.is_finalizing():
                return
            if len(self._due) > self._most:
                self._due = [entry for entry in self._due if (known := entry[2]()) is not None and known.live]
                heapq.heapify(self._due)
                self._most = max(_FEW, 2 * len(self._due))
            heapq.heappush(self._due, (at, next(self._order), weakref.ref(slot)))
            if self._running:
                self._changed.notify()
                return
            thread = threading.Thread(target=_run, args=(self,), name="credbroker-refresher", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # no thread to be had: callers who meet STALE start the refresh, as they always may
            self._running = True

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()

    def pause(self) -> None:
        with self._changed:
            self._changed.wait(1.0)

    def step(self) -> bool:
        """Start what is due, then sleep until the next instant. False: there is nothing left to wait for."""
        engine = self._engine()
        if engine is None or self._stopped:
            return False
        engine.tick()
        now = engine.clock.elapsed()
        for slot in self._take(now):
            engine.refresh_in_background(slot)
            if rules.is_due(slot, now):
                self.schedule(slot, now + 1.0)  # it could not start; one that runs schedules its own next instant
        del engine
        with self._changed:
            if self._stopped or not self._due:
                self._running = False
                return False
            self._changed.wait(min(max(self._due[0][0] - now, 0.0), LONGEST_SLEEP))
        return True

    def _take(self, now: float) -> list[Slot]:
        taken = []
        with self._changed:
            while self._due and self._due[0][0] <= now:
                slot = heapq.heappop(self._due)[2]()
                if slot is not None and slot.live:
                    taken.append(slot)
        return taken


def _run(refresher: Refresher) -> None:
    while True:
        try:
            if not refresher.step():
                return
        except Exception as error:  # noqa: BLE001 - one fault must not end refreshing for good (apache/iceberg#17756)
            logger.warning("the background refresh met %s and goes on", type(error).__name__)
            refresher.pause()
