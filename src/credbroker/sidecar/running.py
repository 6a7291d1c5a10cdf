"""Sidecar: one that runs. It starts as a whole or not at all, reloads as a whole or not at all, and ends with its files."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from credbroker.broker import Broker
from credbroker.brokerage import Brokerage
from credbroker.config import load_files
from credbroker.config.settings import SidecarSettings
from credbroker.context import Clock
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.reloading import reload
from credbroker.sidecar.app import App
from credbroker.sidecar.bindings import Binding, bindings_of
from credbroker.sidecar.directory import DESCRIPTION, DIRECTORY_VARIABLE, FOLDER, SOCKET, STATUS, token_file
from credbroker.sidecar.files import FileSink, check_templates
from credbroker.sidecar.guard import Guard, Rate, Readers
from credbroker.sidecar.pages import State, pages_of
from credbroker.sidecar.protocol import Place, Protocol
from credbroker.sidecar.protocols import PROTOCOLS
from credbroker.sidecar.refusals import Refusals
from credbroker.sidecar.server import Server
from credbroker.sidecar.site import check_no_google_login, clear, collected, describe, directory_of, taken
from credbroker.sidecar.tokens import Tokens
from credbroker.sidecar.variables import child_environment, own_secrets
from credbroker.system import listening
from credbroker.system.memory_folder import Folder, open_folder

if TYPE_CHECKING:
    import socket  # noqa: TID251 - for the type alone

logger = logging.getLogger("credbroker.sidecar")

FIRST_VALUES = 30.0
"""Seconds that an issuer may be away at the start, where somebody waits for the first values."""
_LOOK = 0.02
"""Seconds between two looks whether a first value is there."""
Adapt = Callable[[SidecarSettings], SidecarSettings]
"""What of the settings holds for this one: ``exec`` has a directory and a port of its own."""


class Sidecar:
    """Serves the bindings of one configuration until it is closed."""

    def __init__(self, broker: Broker, settings: SidecarSettings, *, adapt: Adapt | None = None) -> None:
        self.broker = broker
        self._adapt = adapt or (lambda wanted: wanted)
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
        self.directory = directory_of(settings)

    # -- starting ------------------------------------------------------------------------------------------------------

    def start(self, bindings: Mapping[str, Binding] | None = None) -> None:
        """Serve the settings' bindings, or those that are given, with every first value on its way.

        Raises one ``ConfigurationError`` with all that is wrong with the place, the port and the bindings; nothing is left
        behind then.
        """
        faults: list[str] = []
        if bindings is None:
            bindings = collected(faults, lambda: bindings_of(self.broker, self._settings.bindings, {}))
        collected(faults, lambda: check_templates(bindings or {}))
        tcp, group = taken(self._settings, faults)
        if faults or bindings is None or tcp is None:
            if tcp is not None:
                tcp.close()
            raise ConfigurationError("\n".join(faults))
        with ExitStack() as made:
            made.callback(tcp.close)
            folder = self._folder = open_folder(self.directory, group)
            made.callback(folder.close)
            made.callback(folder.remove_empty)
            clear(folder)
            unix = listening.unix(folder, SOCKET)
            made.callback(folder.remove, SOCKET)
            made.callback(unix.close)
            self._serve(folder, dict(bindings), [tcp, unix], made)
            self._made = made.pop_all()

    def _serve(self, folder: Folder, bindings: dict[str, Binding], sockets: list[socket.socket], made: ExitStack) -> None:
        host, port = sockets[0].getsockname()[:2]
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.socket_path = str(sockets[1].getsockname())
        self._tokens = Tokens(folder)
        made.callback(self._tokens.close)
        self._tokens.keep([STATUS, *bindings])
        self._files = FileSink(folder)
        made.callback(self._files.close)
        self._files.take(bindings)
        self._app = App(self._guard(), self._rate(), pages_of(self._state), self._refusals)
        self._server = Server(self._app, sockets)
        self._adopt(bindings)
        made.callback(folder.remove, DESCRIPTION)
        self._describe(self._settings)
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

    def _describe(self, settings: SidecarSettings) -> None:
        described = {
            "version": 1,
            "pid": os.getpid(),
            "url": f"http://{self.authority}",
            "socket": self.socket_path,
            "bindings": {name: list(binding.protocols) for name, binding in settings.bindings.items()},
            "files": [f"{FOLDER}/{file.path}" for one in settings.bindings.values() for file in one.files],
        }
        describe(self._folder, described)

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

    def wait_until_ready(self, seconds: float, pause: Callable[[float], object] | None = None) -> None:
        """Return once every binding is ready. ``pause`` waits for so many seconds; what it raises ends the waiting.

        Raises what an issue ended with: at once where asking again would not help, else when the time is over; and
        ``ConfigurationError`` where a file cannot be written.
        """
        end = self._clock.elapsed() + seconds
        pause = pause or threading.Event().wait
        for binding in self.bindings.values():
            while not binding.is_ready:
                fault = binding.lasting_fault(final=self._clock.elapsed() >= end)
                if fault is not None:
                    raise fault
                pause(_LOOK)

    def protocols(self, binding: Binding) -> list[Protocol]:
        """The protocols that a binding is served by."""
        return [PROTOCOLS[name] for name in binding.settings.protocols]

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment for a process that is to find its credentials here, and nowhere else.

        Raises ``ConfigurationError`` where two bindings want the same variable.
        """
        bindings = tuple(self.bindings.values())
        places = [self.place(binding) for binding in bindings]
        if any(protocol.name == "gce-metadata" for binding in bindings for protocol in self.protocols(binding)):
            check_no_google_login(inherited.get("HOME", ""))
        kept = {name: text for name, text in inherited.items() if name not in self.own_secrets}
        found = child_environment(kept, places, [self.protocols(binding) for binding in bindings])
        return {**found, DIRECTORY_VARIABLE: self.directory}

    @property
    def own_secrets(self) -> frozenset[str]:
        """The variables that the platform's secrets may stand in. What asks the sidecar is not to have them."""
        return own_secrets(self.broker._brokerage.platform)  # noqa: SLF001

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

    def tick(self) -> None:
        """Now and then: tell of bindings that fail, and make new tokens where ``rotate_tokens`` says that it is time.

        The tokens before stay good until the next time.
        """
        for binding in self.bindings.values():
            binding.tell_trouble()
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
        # Read once, and tried on a broker that is thrown away: what is wrong shows here, while nothing has changed yet.
        platform = load_files(self.broker.paths)
        if platform.sidecar is None:
            raise ConfigurationError("the files have no sidecar: section any more")
        wanted = self._adapt(platform.sidecar)
        self._check_stays(wanted)
        with Broker(Brokerage(platform, self.broker._brokerage.given, None)) as trial:  # noqa: SLF001
            check_templates(bindings_of(trial, wanted.bindings, {}))
        before = dict(self.bindings)
        # What can fail comes first, and is undone: then there is no way back.
        try:
            self._tokens.keep([STATUS, *before, *wanted.bindings])
            self._describe(wanted)
            reload(self.broker._brokerage, platform)  # noqa: SLF001
            bindings = bindings_of(self.broker, wanted.bindings, before)
        except BaseException:
            with suppress(CredbrokerError):
                self._describe(self._settings)
            self._tokens.keep([STATUS, *before])
            raise
        self._tokens.keep([STATUS, *bindings])
        self._settings = wanted
        self._files.take(bindings)
        self._app.limit(self._guard(), self._rate())
        self._adopt(bindings)
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
                ("directory", directory_of(wanted) != self.directory),
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
