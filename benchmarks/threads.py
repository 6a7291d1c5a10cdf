"""Section ``threads``: the calls that 16 threads make in all, in multiples of what one makes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.contender import Call, Contender, Get, Issuer, State
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median

THREADS = 16
_BATCH = 50
_LONGER = 5  # than other samples: this one has to outlast many turns of the interpreter's 5 ms switch interval


@dataclass(frozen=True, slots=True)
class _Held:
    contender: Contender
    call: Call
    samples: dict[int, list[float]] = field(default_factory=lambda: {1: [], THREADS: []})


def run(contenders: Sequence[Contender], effort: Effort) -> Table:
    held = []
    for contender in contenders:
        if State.WARM in contender.states:
            call = contender.make(Issuer(), State.WARM)
            call.function()
            held.append(_Held(contender, call))
    for turn in range(max(3, effort.rounds // 2)):
        for one in held:
            for number in (1, THREADS) if turn % 2 else (THREADS, 1):  # a machine that slows down favours neither
                one.samples[number].append(calls_per_second(one.call.function, number, effort.seconds * _LONGER))
    rows = []
    for one in held:
        one.call.close()
        alone, together = one.samples[1], one.samples[THREADS]
        figures = {
            "1 thread, k/s": median(alone) / 1e3,
            "16 threads, k/s": median(together) / 1e3,
            "16 to 1": median([many / few for few, many in zip(alone, together, strict=True)]),
        }
        targets = (Target("16 to 1", "≥", 0.9),) if one.contender.hit_target is not None else ()
        rows.append(Row(one.contender.name, figures, targets))
    return Table("threads", rows)


def calls_per_second(get: Get, threads: int, seconds: float) -> float:
    start = threading.Barrier(threads + 1)
    stop = threading.Event()
    counts, began, ended = [0] * threads, [0.0] * threads, [0.0] * threads

    def work(place: int) -> None:
        done = 0
        start.wait()
        began[place] = time.perf_counter()
        while not stop.is_set():
            for _ in range(_BATCH):
                get()
            done += _BATCH
        counts[place], ended[place] = done, time.perf_counter()

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    # By the workers' own clocks: this thread has to queue behind them to read one.
    return sum(counts) / (max(ended) - min(began))
