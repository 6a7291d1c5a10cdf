"""How samples are taken and summed up, so that a busy machine blurs a figure and does not bend it."""

from __future__ import annotations

import gc
import math
import statistics
import timeit
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contender import FLOOR, Call, Issuer, State


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """Of one sample."""
    gets: int
    """Of the simulated day."""
    pairs: int
    """Of interpreter starts."""
    repeats: int
    """Of a herd or a window."""
    starts: int
    """Of a server."""
    loads: int
    """Of each server, in turn."""
    load_seconds: float
    """Of one closed loop; a constant rate is kept up for twice as long."""
    requests: int
    """Over loopback, in the sidecar's soak."""


FULL = Effort(
    rounds=15, seconds=0.05, gets=1_000_000, pairs=21, repeats=5, starts=5, loads=9, load_seconds=1.5, requests=100_000
)
QUICK = Effort(
    rounds=5, seconds=0.02, gets=100_000, pairs=7, repeats=2, starts=2, loads=3, load_seconds=1.0, requests=10_000
)

median = statistics.median


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The percentile that is one of the values: the smallest that ``percent`` of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


class Stopwatch:
    """Times one call beside the floor: each sample follows one of the floor's, and they are divided pair by pair."""

    def __init__(self, call: Call, effort: Effort) -> None:
        self._own = timeit.Timer(call.statement, globals={"call": call.function, **call.names})
        self._floor = timeit.Timer("call()", globals={"call": FLOOR.make(Issuer(), State.WARM).function})
        self._number = _number(self._own, effort.seconds)
        self._floor_number = _number(self._floor, effort.seconds)
        self.nanoseconds: list[float] = []
        self.ratios: list[float] = []

    def sample(self) -> None:
        floor = self._floor.timeit(self._floor_number) / self._floor_number
        own = self._own.timeit(self._number) / self._number
        self.nanoseconds.append(own * 1e9)
        self.ratios.append(own / floor)


def _number(timer: timeit.Timer, seconds: float) -> int:
    number, took = timer.autorange()
    gc.collect()  # what the calibration left is nobody's sample
    return max(10, int(number * seconds / took))
