"""Section ``sidecar``: a held credential over loopback, beside OpenBao's caching proxy and the same bytes as a static file.

All three run at once and are asked in turn, by one generator in a process of its own (``benchmarks.load``), over the same
number of open connections. On a machine of two cores the server has one to itself at most when the generator is at its
limit: what a second core would give it is not seen.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks import load
from benchmarks.load import Loaded
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median
from benchmarks.served import Served, Start, openbao, sidecar, static_file
from credbroker.cli.demo.seaweed import SeaweedFS

RATE = 1_000.0
"""Requests a second."""
_TARGETS = (
    Target("start, s", "≤", 1.5), Target("loaded, MB", "≤", 80), Target("p99, ms", "≤", 5), Target("errors", "=", 0),
)  # fmt: skip
_RATIOS = (Target("RSS, MB", "<", 1), Target("loaded, MB", "<", 1))


@dataclass(slots=True)
class _Measured:
    served: Served
    first_answers: list[float]
    resident: float
    """After the first answer."""
    loops: list[Loaded] = field(default_factory=list)
    rates: list[Loaded] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        return {
            "start, s": median(self.first_answers),
            "RSS, MB": self.resident,
            "loaded, MB": self.served.resident,
            "p50, ms": median([run.p50 for run in self.rates]) * 1e3,
            "p99, ms": median([run.p99 for run in self.rates]) * 1e3,
            "answers/s": median([run.rate for run in self.loops]),
            "asker": median([run.busy for run in self.loops]),
            "errors": sum(run.errors for run in (*self.loops, *self.rates)),
        }


def run(effort: Effort, *, peers: bool) -> Table:
    if not sidecar.installed():
        return Table("sidecar: left out, it needs Linux and the extra bench", (), "sidecar")
    with ExitStack() as stack:
        server = stack.enter_context(SeaweedFS())
        ours = _measured(stack, lambda: sidecar.start(server), effort)
        measured = [ours]
        bao, nginx = (openbao.program(), static_file.program()) if peers else (None, None)
        if bao is not None:
            measured.append(_measured(stack, stack.enter_context(openbao.upstream(bao)), effort))
        if nginx is not None:
            measured.append(_measured(stack, lambda: static_file.start(nginx, ours.served.body), effort))
        for _ in range(effort.loads):  # in turn: a machine that slows down slows them all
            for one in measured:
                port, request = one.served.port, one.served.request
                one.loops.append(load.in_a_loop(port, request, effort.load_seconds))
                one.rates.append(load.at_rate(port, request, RATE, 2 * effort.load_seconds))
        rows = [Row(one.served.name, one.figures(), _TARGETS if one is ours else ()) for one in measured]
    if bao is not None:
        rows.insert(2, _compared(rows[0], rows[1]))
    return Table(f"sidecar ({RATE:,.0f} requests/s over {load.CONNECTIONS} open connections)", rows, "sidecar")


def _compared(own: Row, proxy: Row) -> Row:
    """Our memory over the proxy's."""
    return Row("credbroker over OpenBao", {f: own.figures[f] / proxy.figures[f] for f in ("RSS, MB", "loaded, MB")}, _RATIOS)


def _measured(stack: ExitStack, start: Start, effort: Effort) -> _Measured:
    first_answers = []
    for _ in range(effort.starts - 1):
        with start() as served:
            first_answers.append(served.first_answer)
    served = stack.enter_context(start())
    return _Measured(served, [*first_answers, served.first_answer], served.resident)
