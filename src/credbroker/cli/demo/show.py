"""The demonstration from its first server to its verdict."""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack
from datetime import timedelta

from credbroker.cli.demo.environment import WORKERS, nothing_ambient
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.platform import VENDED, WAYS, broker_of
from credbroker.cli.demo.report import Report, report
from credbroker.cli.demo.runs import Runs
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.cli.demo.table import Size
from credbroker.cli.demo.view import PlainView, View
from credbroker.cli.terminal import console

_SESSION = timedelta(seconds=5)
_SIZE = Size(files=60, rows_per_file=1000)
_SCAN = 12.0
"""Seconds that a scan is meant to take: more than four of the credentials' lives at this session."""
_GETS = 2  # a small Parquet file is opened with one for its footer and one for its columns
_DELAY = _SCAN * WORKERS / (_SIZE.files * _GETS)


def show(*, for_a_program: bool) -> Report:
    """Run it and show it: live in a terminal, otherwise, and ``for_a_program``, in lines.

    Raises ``CredbrokerError`` where a server or the broker does not come up.
    """
    started = time.monotonic()
    view = _view(for_a_program=for_a_program)
    with ExitStack() as running:
        running.enter_context(warnings.catch_warnings(action="ignore"))  # those of the client libraries are for their users
        running.enter_context(nothing_ambient())
        running.enter_context(view.showing())
        proxy = running.enter_context(PacingProxy())
        store = running.enter_context(SeaweedFS(session=_SESSION, external_url=proxy.url))
        proxy.forward_to(store.s3_endpoint)
        view.say(f"SeaweedFS runs on 127.0.0.1: S3, STS and an Iceberg catalog; a session lives {_SESSION.seconds} s")
        broker = running.enter_context(broker_of(store, proxy.url))
        token = broker.catalog(VENDED.catalog).get()
        view.say(f"OAuth2 token {token.fingerprint[:6]} from the catalog")
        runs = Runs(store=store, proxy=proxy, broker=broker, size=_SIZE, delay=_DELAY, view=view)
        writing_refused_expired = runs.write()
        view.say(f"the store now holds each read of a data file back by {_DELAY:.2f} s; {WORKERS} workers")
        stock = runs.stock()
        ways = [runs.way(way) for way in WAYS]
        found = report(
            ways,
            stock,
            rows_each=_SIZE.rows,
            writing_refused_expired=writing_refused_expired,
            seconds=time.monotonic() - started,
        )
        view.conclude(found)
    return found


def _view(*, for_a_program: bool) -> View:
    terminal = None if for_a_program else console()
    if terminal is None:
        return PlainView()
    from credbroker.cli.demo.live import LiveView

    return LiveView(terminal)
