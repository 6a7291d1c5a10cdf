"""``credbroker sidecar``: serve the bindings of the platform file on loopback until told to end."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config, paths_of
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.terminal import console, print_fields, shown
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.sidecar.directory import DIRECTORY_VARIABLE, FOLDER
from credbroker.system import notify
from credbroker.system.changes import Changes
from credbroker.system.hardening import harden, open_more_files
from credbroker.system.signals import Signals

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
    open_more_files()
    harden()  # before a secret is in memory
    with Signals((*_ENDING, signal.SIGHUP)) as signals:
        watched = Watched(paths_of(arguments), automatic=not arguments.no_reload)
        sidecar = started(paths_of(arguments))
        try:
            _announce(sidecar, as_json=arguments.json)
            notify.ready()
            _serve(sidecar, signals, watched)
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
    from credbroker.sidecar.site import site_faults

    try:
        broker = Broker.from_yaml(*paths)
    except ConfigurationError as error:
        # What is wrong around the files is told beside what is wrong in them: nobody starts twice to learn it.
        settings = stated_sidecar(paths)
        around = site_faults(settings) if settings is not None and adapt is None else []
        fault = ConfigurationError("\n".join([str(error), *(f"  {one}" for one in around)]))
    else:
        if broker.sidecar is None or not broker.sidecar.bindings:
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

    def __init__(self, paths: tuple[str, ...], *, automatic: bool = True) -> None:
        self._automatic = automatic
        self._paths = paths
        self._changes = Changes(paths)

    def reload(self, sidecar: Sidecar, *, asked: bool = False) -> None:
        """Go on by the files as they are now, where they have changed, or somebody has asked. Tells what came of it."""
        changed = self._changes.seen()
        if asked or (changed and self._automatic):
            notify.reloading()
            _reload(sidecar)
            notify.ready()
        if sidecar.watched != self._paths:  # templates are read by the sidecar, and named by the files
            self._paths = sidecar.watched
            self._changes.keep(self._paths)


def _serve(sidecar: Sidecar, signals: Signals, watched: Watched) -> None:
    while sidecar.is_running:
        watched.reload(sidecar)
        caught = signals.wait(min(TICK, notify.watchdog_interval() or TICK))
        if caught in _ENDING:
            return
        if caught == signal.SIGHUP:
            watched.reload(sidecar, asked=True)
        sidecar.tick()
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
    """Where it is served, and which variables lead an SDK there. What is secret in one is shown by its file."""
    if as_json:
        print(json.dumps({"ok": True, "serving": described(sidecar)}, separators=(",", ":")), flush=True)
        return
    from credbroker.sidecar.variables import shell_text

    socket = str(sidecar.socket_path)
    places = (("serving", f"http://{sidecar.authority}"), ("socket", socket), ("directory", sidecar.directory))
    print_fields(console(), places)
    print(f"  export {DIRECTORY_VARIABLE}={shlex.quote(sidecar.directory)}")
    for binding in sidecar.bindings.values():
        place = sidecar.place(binding)
        print(f"\n{shown(binding.name)}")
        for protocol in sidecar.protocols(binding):
            print(f"  {protocol.name}: {place.address(protocol)}")
            for name, value in protocol.environment(place).items():
                print(f"    export {name}={shell_text(value, place)}")
        for file in binding.settings.files:
            print(f"  file: {shown(f'{sidecar.directory}/{FOLDER}/{file.path}')}")
    sys.stdout.flush()


def described(sidecar: Sidecar) -> dict[str, object]:
    """The same for a program: values as they are, and of a secret the file that it stands in, after a prefix."""
    from credbroker.sidecar.variables import from_file

    bindings: dict[str, object] = {}
    for name, binding in sidecar.bindings.items():
        place, protocols = sidecar.place(binding), sidecar.protocols(binding)
        variables = {key: value for one in protocols for key, value in one.environment(place).items()}
        bindings[name] = {
            "protocols": {one.name: place.address(one) for one in protocols},
            "token_file": place.token_file,
            "environment": {key: value for key, value in variables.items() if isinstance(value, str)},
            "from_file": {key: from_file(value, place) for key, value in variables.items() if not isinstance(value, str)},
            "files": [f"{sidecar.directory}/{FOLDER}/{file.path}" for file in binding.settings.files],
        }
    return {
        "url": f"http://{sidecar.authority}",
        "socket": sidecar.socket_path,
        "directory": sidecar.directory,
        "bindings": bindings,
    }


COMMAND = Command("sidecar", "serve short-lived credentials to this machine's SDKs", _add_arguments, _run)
