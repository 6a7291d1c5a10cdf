"""Section ``sidecar-soak``: a simulated week of requests to the sidecar's app, then real ones over loopback."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from benchmarks import load
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort
from benchmarks.served import sidecar
from benchmarks.sidecar_week import Issuer, Week, running
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.testing import ManualClock

_SESSION = timedelta(seconds=8)
"""Of the real requests: it is refreshed several times while they last."""
_RATE = 1_000.0
_FLAT = Target("MB", "≤", 1)


def run(effort: Effort) -> Table:
    if not sidecar.installed():
        return Table("sidecar-soak: left out, it needs Linux and the extra bench", (), "sidecar-soak")
    clock = ManualClock()
    issuer = Issuer(clock)
    with running(issuer, clock) as (started, file):
        ledger = asyncio.run(Week(started, file, issuer, clock).run(effort.gets))
    none = Target("count", "=", 0)
    growth = {"MB": ledger.resident[1] - ledger.resident[0]}
    rows = [
        _row("requests to the app", effort.gets),
        _row("answers that were over", ledger.expired, none),
        _row("answers in the guard, the last 15 s", ledger.in_guard, none),
        _row("answers that told a later end than the real one", ledger.told_too_long, none),
        _row("errors while a value was valid", ledger.refused_while_valid, none),
        _row("errors while none was: after a sleep or a changed profile", ledger.refused - ledger.refused_while_valid),
        _row("requests that met a refresh under way", ledger.under_way),
        _row("sleeps of the machine to the end of a value", ledger.sleeps),
        _row("calls of the issuer", issuer.calls),
        _row("of them failed", issuer.failed),
        _row("reloads", ledger.reloads),
        _row("of them with a fault in the file", ledger.faulty),
        _row("reloads refused without a fault, or adopted with one", ledger.misjudged, none),
        Row("memory, growth over the last four fifths", growth, (_FLAT,)),
        *_over_loopback(effort),
    ]
    return Table("sidecar-soak", rows)


def _row(name: str, count: int, *targets: Target) -> Row:
    return Row(name, {"count": count}, targets)


def _over_loopback(effort: Effort) -> list[Row]:
    with SeaweedFS(session=_SESSION) as server, sidecar.start(server) as served:
        warm = load.at_rate(served.port, served.request, _RATE, effort.requests / _RATE / 10)
        resident_before, issued_before = served.resident, sidecar.issues(served)
        loaded = load.at_rate(served.port, served.request, _RATE, effort.requests / _RATE)
        issued, growth = sidecar.issues(served) - issued_before, served.resident - resident_before
    return [
        _row("requests over loopback", loaded.answers + loaded.errors),
        _row("of them errors", warm.errors + loaded.errors, Target("count", "=", 0)),
        _row("sessions that replaced one meanwhile", issued, Target("count", "≥", 1)),
        Row("memory of the sidecar, growth", {"MB": growth}, (_FLAT,)),
    ]
