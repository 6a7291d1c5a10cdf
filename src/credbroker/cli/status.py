"""``credbroker status``: what a running sidecar serves, in which state, and what went wrong last."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING

from credbroker.cli.command import Command, Outcome
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.sidecar_directory import add_directory
from credbroker.cli.terminal import console, shown
from credbroker.errors import ConfigurationError, CredbrokerError

if TYPE_CHECKING:
    from rich.console import Console

    from credbroker.sidecar.told_status import BindingStatus, Status

_EVERY = 1.0
"""Seconds between two looks."""


def _add_arguments(parser: ArgumentParser) -> None:
    add_directory(parser)
    parser.add_argument("--watch", action="store_true", help="look each second until Ctrl-C; into a pipe, a line a change")
    parser.epilog = (
        "Shows of each binding its state (fresh; stale: a new value is being fetched; expired; absent), how much of the "
        "value's life is left, how many values were issued in the last hour, how many answers were given, and what the "
        "last issue failed with. No secret is shown. Exit code 0: each binding holds a value that can be used; 1: one does "
        "not, or the sidecar is about to end; 69: it does not answer; 77: not to this user; 78: there is none."
    )


def _run(arguments: Namespace) -> Outcome:
    if arguments.watch and arguments.json:
        raise ConfigurationError("--json ends with an object, and --watch does not end: give one of the two")
    status = _status(arguments)
    if arguments.watch:
        _watch(arguments, status)
        return Outcome()
    if not arguments.json:
        _show(status)
    return Outcome(ExitCode.FINE if status.ready else ExitCode.FINDING, {**status.document, "ok": status.ready})


def _status(arguments: Namespace) -> Status:
    from credbroker.sidecar.client import ask, find, refusal
    from credbroker.sidecar.directory import STATUS, token_file
    from credbroker.sidecar.told_status import LARGEST, parsed

    sidecar = find(arguments.directory, owner=arguments.owner)
    code, body = ask(sidecar, "/status", token_file(STATUS), largest=LARGEST)
    if code != 200:
        raise refusal(code, body, "its status")
    return parsed(body)


def _show(status: Status) -> None:
    out = console()
    if out is not None:
        from credbroker.cli.status_table import table

        out.print(table(status, out.width))
        return
    for line in (*notes(status), *map(_line, status.bindings)):
        print(shown(line))


def _watch(arguments: Namespace, status: Status) -> None:
    """Until Ctrl-C. While the sidecar is silent, what it told last stays, with the reason."""
    looks, out = _looks(arguments, status), console()
    try:
        if out is None:
            _print_changes(looks)
        else:
            _redraw(out, looks)
    except KeyboardInterrupt:
        pass


def _looks(arguments: Namespace, status: Status) -> Iterator[tuple[Status, str]]:
    """What was told last, and why nothing has been told since."""
    pause, silence = Event(), ""
    while True:
        yield status, silence
        pause.wait(_EVERY)
        try:
            status, silence = _status(arguments), ""
        except CredbrokerError as error:
            silence = str(error)


def _print_changes(looks: Iterator[tuple[Status, str]]) -> None:
    from credbroker.system.clock import SystemClock

    clock, before = SystemClock(), frozenset[str]()
    for status, silence in looks:
        lines = [silence] if silence else [*notes(status), *map(_state, status.bindings)]
        for line in lines:
            if line not in before:
                print(f"{clock.now():%Y-%m-%dT%H:%M:%SZ} {shown(line)}", flush=True)
        before = frozenset(lines)


def _redraw(out: Console, looks: Iterator[tuple[Status, str]]) -> None:
    from rich.live import Live

    from credbroker.cli.status_table import table

    with Live(console=out, auto_refresh=False) as live:
        for status, silence in looks:
            live.update(table(status, out.width, silence), refresh=True)


def notes(status: Status) -> list[str]:
    """What is to be said of the sidecar as a whole, if anything is."""
    found = ["the sidecar is about to end"] if status.draining else []
    if status.fault is not None:
        found.extend(f"the platform file was changed, and refused: {status.fault}".splitlines())
    return found


def _state(binding: BindingStatus) -> str:
    until = f" until {binding.expires_at}" if binding.ready and binding.expires_at else ""
    error = f", {binding.error}" if binding.error else ""
    return f"{binding.name}: {binding.state}{until}{error}"


def _line(binding: BindingStatus) -> str:
    left = f", {duration(binding.left)} left" if binding.ready and binding.left is not None else ""
    counts = f", {binding.issues_last_hour} issued in the last hour, {binding.answers} answers"
    error = f", {binding.error} ({binding.failures} in a row)" if binding.error else ""
    return f"{binding.name}: {binding.state}{left}{counts}{error}"


def duration(seconds: float) -> str:
    """``7 s``, ``42 min``, ``1 h 5 min``: rounded down, so that nobody counts on more than there is."""
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


COMMAND = Command(
    "status", "Show what a running sidecar serves: states, remaining life, issues, last errors.", _add_arguments, _run
)
