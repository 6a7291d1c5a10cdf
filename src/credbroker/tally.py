"""Tally: how many values were issued for each run."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from credbroker.system.process import in_forked_child

_MOST_RUNS = 1000


class Tally:
    """Counts by run id, for the latest thousand runs of a process; thread-safe. A forked child counts from nothing."""

    def __init__(self) -> None:
        self.clear()
        _tallies.add(self)

    def clear(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str | None, int] = OrderedDict()

    def count(self, run_id: str | None) -> None:
        with self._lock:
            self._runs[run_id] = self._runs.pop(run_id, 0) + 1
            if len(self._runs) > _MOST_RUNS:
                self._runs.popitem(last=False)

    def of(self, run_id: str | None) -> int:
        with self._lock:
            return self._runs.get(run_id, 0)


_tallies: weakref.WeakSet[Tally] = weakref.WeakSet()


def _clear_after_fork() -> None:
    for tally in tuple(_tallies):
        tally.clear()


in_forked_child(_clear_after_fork)
