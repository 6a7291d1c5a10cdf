"""Sidecar: one that runs. It starts as a whole or not at all, reloads as a whole or not at all, and ends with its files."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from credbroker.broker import Broker
from credbroker.config.settings import SidecarSettings
from credbroker.context import Clock
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable
from credbroker.sidecar.app import STATUS, App
from credbroker.sidecar.bindings import Binding, bindings_of
from credbroker.sidecar.directory import DESCRIPTION, DIRECTORY_VARIABLE, default_directory, token_file
from credbroker.sidecar.files import FileSink
from credbroker.sidecar.guard import Guard, Rate, Readers
from credbroker.sidecar.pages import State, pages_of
from credbroker.sidecar.protocol import Place, Protocol
from credbroker.sidecar.protocols import PROTOCOLS
from credbroker.sidecar.refusals import Refusals
from credbroker.sidecar.server import Server
from credbroker.sidecar.tokens import Tokens
from credbroker.sidecar.variables import child_environment
from credbroker.system import listening
from credbroker.system.environment import SystemEnvironment
from credbroker.system.groups import group_id
from credbroker.system.memory_folder import Folder, open_folder
from credbroker.system.memory_folder import faults as folder_faults

if TYPE_CHECKING:
    import socket  # noqa: TID251 - for the type alone

logger = logging.getLogger("credbroker.sidecar")

_T = TypeVar("_T")
FIRST_VALUES = 30.0
"""Seconds that an issuer may be away at the start, where somebody waits for the first values."""
_LOOK = 0.02
"""Seconds between two looks whether a first value is there."""
Make = Callable[[SidecarSettings, Mapping[str, Binding]], dict[str, Binding]]
"""The bindings of some settings; those that say what they said before stay the same objects."""


Adapt = Callable[[SidecarSettings], SidecarSettings]
"""What of the settings holds for this one: ``exec`` has a directory and a port of its own."""


class Sidecar:
    """Serves the bindings of one configuration until it is closed."""

    def __init__(
        self, broker: Broker, settings: SidecarSettings, *, adapt: Adapt | None = None, make: Make | None = None
    ) -> None:
        self.broker = broker
        self._adapt = adapt or (lambda wanted: wanted)
        self._make = make or (lambda wanted, before: bindings_of(broker, wanted.bindings, before))
        self._settings = settings = self._adapt(settings)
        self._lock = threading.Lock()
        self._process = os.getpid()
        clock = self._clock
        self._refusals = Refusals(clock.elapsed)
        self._state = State(clock.now(), refused=self._refusals.counts, loaded_at=clock.now(), paths=broker.paths)
        self._rotated_at = clock.elapsed()
        self.authority = ""
        """Where it is served by TCP, once it is: ``127.0.0.1:8642``."""
        self.socket_path: str | None = None
        self.directory = _directory(settings)

    # -- starting ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve, with every binding's first value on its way.

        Raises one ``ConfigurationError`` with all that is wrong with the place, the port and the bindings; nothing is left
        behind then.
        """
        faults: list[str] = []
        bindings = _collected(faults, lambda: self._make(self._settings, {}))
        tcp, group = _place(self._settings, faults)
        if faults or bindings is None or tcp is None:
            if tcp is not None:
                tcp.close()
            raise ConfigurationError("\n".join(faults))
        with ExitStack() as made:
            made.callback(tcp.close)
            folder = self._folder = open_folder(self.directory, group)
            made.callback(folder.close)
            made.callback(folder.remove_empty)
            unix = listening.unix(folder)
            made.callback(folder.remove, listening.SOCKET_NAME)
            made.callback(unix.close)
            self._serve(folder, bindings, [tcp, unix], made)
            self._made = made.pop_all()

    def _serve(self, folder: Folder, bindings: dict[str, Binding], sockets: list[socket.socket], made: ExitStack) -> None:
        host, port = sockets[0].getsockname()[:2]
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.socket_path = str(sockets[1].getsockname())
        self._tokens = Tokens(folder)
        made.callback(self._tokens.close)
        self._tokens.keep([STATUS, *bindings])
        self._files = self._state.files = FileSink(folder)
        made.callback(self._files.close)
        self._files.take(bindings)
        self._app = App(self._guard(), self._rate(), pages_of(self._state), self._refusals)
        self._server = Server(self._app, sockets)
        self._adopt(bindings)
        made.callback(folder.remove, DESCRIPTION)
        self._describe()
        self._server.start()
        for binding in bindings.values():
            binding.pin()

    def _guard(self) -> Guard:
        return Guard(Readers(os.geteuid(), self._settings.reader_uids), self._tokens.accepts)

    def _rate(self) -> Rate:
        return Rate(self._settings.requests_per_second, self._clock.elapsed)

    def _adopt(self, bindings: dict[str, Binding]) -> None:
        self._state.bindings = bindings
        self._app.serve(bindings)

    def _describe(self) -> None:
        """Write where it is served, for whoever is told the directory only. Nothing in it is secret."""
        described = {
            "version": 1,
            "pid": os.getpid(),
            "url": f"http://{self.authority}",
            "socket": self.socket_path,
            "bindings": {name: list(binding.settings.protocols) for name, binding in self.bindings.items()},
        }
        self._folder.write(DESCRIPTION, json.dumps(described).encode(), group_readable=True)

    # -- running -------------------------------------------------------------------------------------------------------

    @property
    def bindings(self) -> Mapping[str, Binding]:
        return self._state.bindings

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    @property
    def watched(self) -> tuple[str, ...]:
        """The files by which it goes on: when one of them changes, it is time to reload."""
        templates = (file.template for binding in self.bindings.values() for file in binding.settings.files)
        return (*self.broker.paths, *(path for path in templates if path is not None))

    def wait_until_ready(self, seconds: float) -> None:
        """Return once every binding has a value.

        Raises what its issue ended with: at once where asking again would not help, else when the time is over.
        """
        end = self._clock.elapsed() + seconds
        waiting = threading.Event()
        for binding in self.bindings.values():
            while not binding.is_ready:
                failure = binding.failure()
                if failure is not None and (not failure.retryable or self._clock.elapsed() >= end):
                    raise failure.fresh()
                if self._clock.elapsed() >= end:
                    raise IssuerUnavailable(f"nothing was issued within {seconds:g} s", profile=binding.request.profile)
                waiting.wait(_LOOK)

    def protocols(self, binding: Binding) -> list[Protocol]:
        """The protocols that a binding is served by."""
        return [PROTOCOLS[name] for name in binding.settings.protocols]

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment for a process that is to find its credentials here, and nowhere else.

        Raises ``ConfigurationError`` where two bindings want the same variable.
        """
        bindings = tuple(self.bindings.values())
        places = [self.place(binding) for binding in bindings]
        found = child_environment(inherited, places, [self.protocols(binding) for binding in bindings])
        return {**found, DIRECTORY_VARIABLE: self.directory}

    def place(self, binding: Binding) -> Place:
        """Where a binding is served, and by which token."""
        profile = self.broker.profile(binding.request.kind, binding.request.profile)
        return Place(
            binding=binding.name,
            authority=self.authority,
            token_file=f"{self.directory}/{token_file(binding.name)}",
            token=self._tokens.current(binding.name),
            region=getattr(profile, "region", None),
            endpoint=getattr(profile, "endpoint", None) if isinstance(getattr(profile, "endpoint", None), str) else None,
        )

    def rotate_if_due(self) -> None:
        """Make new tokens where ``rotate_tokens`` says that it is time. The ones before stay good until the next time."""
        every = self._settings.rotate_tokens
        if every is not None and self._clock.elapsed() - self._rotated_at >= every.total_seconds():
            self._rotated_at = self._clock.elapsed()
            try:
                self._tokens.rotate()
            except (CredbrokerError, OSError) as error:
                logger.warning("the tokens were not rotated (%s): the ones before stay good", type(error).__name__)

    def reload(self) -> None:
        """Read the files again and go on by them: all of them, or, where anything is wrong, none.

        Raises ``ConfigurationError``, with everything as it was; ``/status`` tells it too.
        """
        with self._lock:
            try:
                self._reload()
            except CredbrokerError as error:
                self._state.fault = str(error)
                raise
            self._state.fault = None
            self._state.loaded_at = self._clock.now()

    def _reload(self) -> None:
        # Tried on a broker that is thrown away: what is wrong shows here, while nothing has changed yet.
        with Broker.from_yaml(*self.broker.paths) as trial:
            if trial.sidecar is None:
                raise ConfigurationError("the files have no sidecar: section any more")
            wanted = self._adapt(trial.sidecar)
            self._check_stays(wanted)
            self._files.check(bindings_of(trial, wanted.bindings, {}))
        before = dict(self.bindings)
        # What can fail comes first, and is undone: then there is no way back.
        self._tokens.keep([STATUS, *before, *wanted.bindings])
        try:
            self.broker.reload()
            bindings = self._make(wanted, before)
        except BaseException:
            self._tokens.keep([STATUS, *before])
            raise
        self._tokens.keep([STATUS, *bindings])
        self._settings = wanted
        self._files.take(bindings)
        self._app.limit(self._guard(), self._rate())
        self._adopt(bindings)
        self._describe()
        for binding in bindings.values():
            binding.pin()
        for name, binding in before.items():
            if bindings.get(name) is not binding:
                binding.release()

    def _check_stays(self, wanted: SidecarSettings) -> None:
        """What a running sidecar cannot change."""
        ours = self._settings
        moved = [
            key
            for key, differs in (
                ("directory", _directory(wanted) != self.directory),
                ("listen", wanted.listen_port != ours.listen_port or wanted.listen_host != ours.listen_host),
                ("readers.group", wanted.reader_group != ours.reader_group),
            )
            if differs
        ]
        if moved:
            raise ConfigurationError(f"sidecar: {', '.join(moved)} changed, which takes a restart")

    # -- ending --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Answer what is under way, take no more, and remove every file. The broker is left to its owner.

        In a forked child it does nothing: the parent serves on.
        """
        if os.getpid() != self._process:
            return
        self._state.draining = True
        self._server.stop()
        for binding in self.bindings.values():
            binding.release()
        self._made.close()

    @property
    def _clock(self) -> Clock:
        return self.broker._brokerage.context.clock  # noqa: SLF001


def place_faults(settings: SidecarSettings) -> list[str]:
    """What is wrong with the directory and the port, told as ``start`` tells it."""
    faults: list[str] = []
    tcp, _ = _place(settings, faults)
    if tcp is not None:
        tcp.close()
    return faults


def _place(settings: SidecarSettings, faults: list[str]) -> tuple[socket.socket | None, int | None]:
    """The listening socket, and the number of the readers' group."""
    group = None
    wanted = settings.reader_group
    if wanted is not None:
        group = _collected(faults, lambda: group_id(wanted))
    faults.extend(folder_faults(_directory(settings), group=group))
    return _collected(faults, lambda: listening.tcp(settings.listen_host, settings.listen_port)), group


def _directory(settings: SidecarSettings) -> str:
    return settings.directory or default_directory(SystemEnvironment().variable, os.geteuid())


def _collected(faults: list[str], make: Callable[[], _T]) -> _T | None:
    """What ``make`` gives; where it cannot, None, and why is added to the faults."""
    try:
        return make()
    except CredbrokerError as error:
        faults.extend(str(error).split("\n"))
        return None
