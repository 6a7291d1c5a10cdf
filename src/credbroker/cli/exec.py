"""``credbroker exec -- COMMAND``: run a command beside a sidecar of its own, which starts before it and ends with it."""

from __future__ import annotations

import argparse
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config, paths_of
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.sidecar import TICK, Watched, started
from credbroker.cli.terminal import shown
from credbroker.errors import ConfigurationError
from credbroker.system.hardening import harden
from credbroker.system.signals import Signals

if TYPE_CHECKING:
    from credbroker.config.settings import SidecarSettings
    from credbroker.sidecar.running import Sidecar
    from credbroker.system.child import Child

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends these to the command as well: passed on they would come twice."""
_ENDING = (signal.SIGTERM, signal.SIGHUP, *_FROM_TERMINAL)


class _EndedError(Exception):
    """A signal that ends us came before the command was there to get it."""

    def __init__(self, caught: signal.Signals) -> None:
        super().__init__(f"ended by {caught.name} before the command was started")
        self.code = 128 + caught


def _add_arguments(parser: ArgumentParser) -> None:
    add_config(parser)
    parser.usage = "credbroker exec [--json] [--config FILE] [--binding NAME] -- COMMAND [ARGUMENT ...]"
    parser.add_argument(
        "--binding", metavar="NAME", action="append", help="this one of sidecar.bindings; may be repeated (default: all)"
    )
    parser.add_argument("argv", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="what to run, with its arguments")
    parser.epilog = (
        "The command finds its credentials by the variables that its SDKs know; what would win over them is unset, and no "
        "SDK in it reaches a metadata service of the machine. It starts once every binding has a value. Signals are passed "
        "on to it; its exit code is this command's (128 and the number of the signal that ended it). As in a shell: 127, "
        "no such command; 126, it cannot be run."
    )


def _run(arguments: Namespace) -> Outcome:
    from credbroker.system import child

    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        print("credbroker: no command is given: credbroker exec --config FILE -- COMMAND", file=sys.stderr)
        return Outcome(ExitCode.USAGE, {"ok": False, "error": "Usage", "message": "no command is given"})
    given = child.inherited()  # before the umask is our own
    harden()
    with Signals((*_PASSED_ON, *_FROM_TERMINAL, signal.SIGCHLD)) as signals:
        watched = Watched(paths_of(arguments))
        sidecar = started(paths_of(arguments), adapt=_own(arguments.binding))
        from credbroker.sidecar.running import FIRST_VALUES  # with the extra, which `started` has found
        from credbroker.sidecar.site import sweep

        sweep()

        try:
            environment = sidecar.environment(given.environment)
            pause = partial(_pause, signals)
            sidecar.wait_until_ready(FIRST_VALUES, pause)
            pause(0)  # a signal that came while nobody waited
            running = child.start(argv, replace(given, environment=environment))
            code = _accompany(running, sidecar, signals, watched)
        except (_EndedError, child.NotStarted) as stop:
            print(f"credbroker: {shown(stop)}", file=sys.stderr)
            code = stop.code
        finally:
            sidecar.close()
            sidecar.broker.close()
    return Outcome(code, {"ok": code == 0, "exit_code": code})


def _pause(signals: Signals, seconds: float) -> None:
    """Wait, and end with the signal that comes meanwhile: there is no command yet that would."""
    caught = signals.wait(seconds)
    if caught in _ENDING:
        raise _EndedError(caught)


def _own(names: list[str] | None) -> Callable[[SidecarSettings], SidecarSettings]:
    """The settings for one command: a directory and a port that no other has, and no reader but the command."""
    from credbroker.sidecar.directory import own_directory

    directory = own_directory()

    def adapt(settings: SidecarSettings) -> SidecarSettings:
        bindings = settings.bindings
        unknown = [name for name in names or () if name not in bindings]
        if unknown:
            known = ", ".join(bindings) or "none"
            raise ConfigurationError(f"--binding {', '.join(unknown)}: there is no such binding (there are {known})")
        return replace(
            settings,
            directory=directory,
            listen_port=0,
            reader_uids=(),
            reader_group=None,
            rotate_tokens=None,
            bindings={name: bindings[name] for name in names} if names else bindings,
        )

    return adapt


def _accompany(running: Child, sidecar: Sidecar, signals: Signals, watched: Watched) -> int:
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    while True:
        code = running.ended()
        if code is not None:
            return code
        caught = signals.wait(TICK)
        if caught in _PASSED_ON or (caught in _FROM_TERMINAL and not at_terminal):
            running.send(caught)
        watched.reload(sidecar)
        sidecar.tick()


COMMAND = Command("exec", "run a command with short-lived credentials", _add_arguments, _run)
