"""``credbroker sidecar``: serve the bindings of the platform file on loopback until told to end."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config, paths_of
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.signals import Signals
from credbroker.cli.terminal import console, print_fields, shown
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.system import notify
from credbroker.system.changes import Changes
from credbroker.system.hardening import harden

if TYPE_CHECKING:
    from credbroker.sidecar.running import Adapt, Sidecar

_ENDING = (signal.SIGTERM, signal.SIGINT)
TICK = 1.0
"""Seconds between two looks at the files, the tokens' age and the watchdog."""


def _add_arguments(parser: ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--no-reload", action="store_true", help="leave changes of the files alone until SIGHUP")
    parser.epilog = (
        "Serves what 'sidecar: {bindings: ...}' names, to this machine only: each SDK finds it by the environment variables "
        "that are printed at the start. SIGHUP, or a change of the files, reloads them: all, or, where anything is wrong, "
        "none. SIGTERM answers what is under way and ends. Exit code 78: something must be mended first, and all of it is "
        "listed."
    )


def _run(arguments: Namespace) -> Outcome:
    harden()  # before a secret is in memory
    with Signals((*_ENDING, signal.SIGHUP)) as signals:
        watched = Watched(paths_of(arguments))
        sidecar = started(paths_of(arguments))
        try:
            _announce(sidecar, as_json=arguments.json)
            notify.ready()
            _serve(sidecar, signals, None if arguments.no_reload else watched)
        finally:
            notify.stopping()
            sidecar.close()
            sidecar.broker.close()
    return Outcome(ExitCode.FINE, {"ok": True, "ended": True})


def started(paths: tuple[str, ...], *, adapt: Adapt | None = None) -> Sidecar:
    """A sidecar that serves, by what ``adapt`` makes of the files' settings.

    Raises one ``ConfigurationError`` with all that must be mended, in the files and around them.
    """
    try:
        from credbroker.sidecar.running import Sidecar
    except ImportError:
        raise ConfigurationError("the sidecar needs its extra: pip install 'credbroker-data[sidecar]'") from None
    from credbroker.broker import Broker
    from credbroker.config.load import stated_sidecar
    from credbroker.sidecar.running import place_faults

    try:
        broker = Broker.from_yaml(*paths)
    except ConfigurationError as error:
        # What is wrong around the files is told beside what is wrong in them: nobody starts twice to learn it.
        settings = stated_sidecar(paths)
        around = place_faults(settings) if settings is not None and adapt is None else []
        fault = ConfigurationError("\n".join([str(error), *around]))
    else:
        if broker.sidecar is None:
            broker.close()
            raise ConfigurationError(f"{', '.join(paths)}: has no sidecar: section with bindings to serve")
        try:
            sidecar = Sidecar(broker, broker.sidecar, adapt=adapt)
            sidecar.start()
        except BaseException:
            broker.close()
            raise
        return sidecar
    raise fault


class Watched:
    """The files that a sidecar goes on by. It looks at them before they are read, so that no change is missed."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = paths
        self._changes = Changes(paths)

    def reload(self, sidecar: Sidecar, *, asked: bool = False) -> None:
        """Go on by the files as they are now, where they have changed, or somebody has asked. Tells what came of it."""
        if not self._changes.seen() and not asked:
            return
        notify.reloading()
        _reload(sidecar)
        notify.ready()
        if sidecar.watched != self._paths:
            self._paths = sidecar.watched
            self._changes = Changes(self._paths)


def _serve(sidecar: Sidecar, signals: Signals, watched: Watched | None) -> None:
    always = watched or Watched(())
    while sidecar.is_running:
        caught = signals.wait(min(TICK, notify.watchdog_interval() or TICK))
        if caught in _ENDING:
            return
        always.reload(sidecar, asked=caught == signal.SIGHUP)
        sidecar.rotate_if_due()
        notify.alive()
    raise RuntimeError("the server's thread has ended")


def _reload(sidecar: Sidecar) -> None:
    try:
        sidecar.reload()
    except CredbrokerError as error:
        print("credbroker: not reloaded, all goes on as before:", file=sys.stderr)
        for line in str(error).split("\n"):
            print(f"  {shown(line)}", file=sys.stderr)
    else:
        print(f"credbroker: reloaded: {', '.join(sidecar.bindings)}", file=sys.stderr)
    sys.stderr.flush()


def _announce(sidecar: Sidecar, *, as_json: bool) -> None:
    """Where it is served, and which variables lead an SDK there. A variable that holds a token is shown by its file."""
    if as_json:
        import json

        print(json.dumps({"ok": True, "serving": described(sidecar)}, separators=(",", ":")), flush=True)
        return
    socket = str(sidecar.socket_path)
    places = (("serving", f"http://{sidecar.authority}"), ("socket", socket), ("directory", sidecar.directory))
    print_fields(console(), places)
    for binding in sidecar.bindings.values():
        names = ", ".join(binding.settings.protocols) or "files"
        print(f"\n{shown(binding.name)}  ({names})")
        for name, value in variables(sidecar, binding.name).items():
            print(f"  export {name}={value}")
    sys.stdout.flush()


def described(sidecar: Sidecar) -> dict[str, object]:
    """The same for a program."""
    return {
        "url": f"http://{sidecar.authority}",
        "socket": sidecar.socket_path,
        "directory": sidecar.directory,
        "bindings": {
            name: {"protocols": list(binding.settings.protocols), "environment": variables(sidecar, name)}
            for name, binding in sidecar.bindings.items()
        },
    }


def variables(sidecar: Sidecar, name: str) -> dict[str, str]:
    """The environment variables of a binding, as a shell takes them."""
    from credbroker.sidecar.variables import shell_text

    binding = sidecar.bindings[name]
    place = sidecar.place(binding)
    return {
        variable: shell_text(value, place)
        for protocol in sidecar.protocols(binding)
        for variable, value in protocol.environment(place).items()
    }


COMMAND = Command("sidecar", "serve short-lived credentials to this machine's SDKs", _add_arguments, _run)
