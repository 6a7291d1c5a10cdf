"""Section ``hit``: what a call costs while a value is held, in multiples of the floor."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.contender import Contender, Issuer, State
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, Stopwatch, median


def run(contenders: Sequence[Contender], effort: Effort) -> Table:
    timed = []
    for contender in contenders:
        if State.WARM in contender.states:
            call = contender.make(Issuer(), State.WARM)
            call.function()
            timed.append((contender, call, Stopwatch(call, effort)))
    for _ in range(effort.rounds):  # all contenders in each round: a machine that slows down slows them all
        for _, _, stopwatch in timed:
            stopwatch.sample()
    rows = []
    for contender, call, stopwatch in timed:
        call.close()
        figures = {
            "ns": median(stopwatch.nanoseconds),
            "x floor": median(stopwatch.ratios),
            "lowest": min(stopwatch.ratios),
            "highest": max(stopwatch.ratios),
        }
        targets = () if contender.hit_target is None else (Target("x floor", "≤", contender.hit_target),)
        rows.append(Row(contender.name, figures, targets))
    return Table("hit", rows)
