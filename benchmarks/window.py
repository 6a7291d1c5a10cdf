"""Section ``window``: 16 threads use a value for a second while its refresh falls due and the issuer takes 300 ms."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from benchmarks.contender import Contender, Get, Issuer, State
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median

LATENCY = 0.3
THREADS = 16
_SECONDS = 1.0
_PAUSE = 0.001  # between two calls: sixteen threads that never pause measure the interpreter's lock and nothing else
_TARGETS = (Target("calls", "=", 1), Target("stall, ms", "<", 1))


def run(contenders: Sequence[Contender], effort: Effort) -> Table:
    rows = []
    for contender in contenders:
        if State.DUE not in contender.states:
            continue
        # The floor has nothing to refresh: its longest stall is the machine's.
        repeats = effort.repeats if contender.ours or not contender.needs else 1
        runs = []
        for _ in range(repeats):
            issuer = Issuer(LATENCY)
            call = contender.make(issuer, State.DUE)
            stall, slow = _longest_stall(call.function)
            runs.append((issuer.calls, stall, slow))
            call.close()
        figures = {
            "calls": max(calls for calls, _, _ in runs),
            "stall, ms": median([stall * 1e3 for _, stall, _ in runs]),
            "longest, ms": max(stall * 1e3 for _, stall, _ in runs),
            "waited for it": max(slow for _, _, slow in runs),
        }
        rows.append(Row(contender.name, figures, _TARGETS if contender.ours else ()))
    return Table("window", rows)


def _longest_stall(get: Get) -> tuple[float, int]:
    """The longest of all calls, in seconds, and how many took about as long as the issuer."""
    ends = time.perf_counter() + _SECONDS
    longest, slow = [0.0] * THREADS, [0] * THREADS

    def work(place: int) -> None:
        while (began := time.perf_counter()) < ends:
            get()
            took = time.perf_counter() - began
            longest[place] = max(longest[place], took)
            slow[place] += took > LATENCY / 2
            time.sleep(_PAUSE)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(longest), sum(slow)
