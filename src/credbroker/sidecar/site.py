"""Where one sidecar lives on this machine: a directory in memory, a port on loopback, and what a crash has left there."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from credbroker.config.settings import SidecarSettings
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.sidecar.directory import DESCRIPTION, SOCKET, STATUS, default_directory, token_file
from credbroker.system import listening
from credbroker.system.environment import SystemEnvironment
from credbroker.system.folder_faults import faults as folder_faults
from credbroker.system.groups import group_id
from credbroker.system.memory_folder import Folder, open_folder

if TYPE_CHECKING:
    import socket  # noqa: TID251 - for the type alone

_T = TypeVar("_T")


def directory_of(settings: SidecarSettings) -> str:
    """The directory that the settings name, else this user's own."""
    return settings.directory or default_directory(SystemEnvironment().variable, os.geteuid())


def site_faults(settings: SidecarSettings) -> list[str]:
    """What is wrong with the directory and the port, told as a start tells it. Nothing is kept open."""
    faults: list[str] = []
    listener, _ = taken(settings, faults)
    if listener is not None:
        listener.close()
    return faults


def taken(settings: SidecarSettings, faults: list[str]) -> tuple[socket.socket | None, int | None]:
    """The listening socket and the number of the readers' group; what is wrong is added to ``faults``."""
    wanted = settings.reader_group
    group = collected(faults, lambda: group_id(wanted)) if wanted is not None else None
    key = "sidecar.directory" if settings.directory else "sidecar.directory, which is not set"
    faults.extend(f"{key}: {fault}" for fault in folder_faults(directory_of(settings), group=group))
    return collected(faults, lambda: listening.tcp(settings.listen_host, settings.listen_port)), group


def collected(faults: list[str], make: Callable[[], _T]) -> _T | None:
    """What ``make`` gives; where it cannot, None, and why is added to ``faults``."""
    try:
        return make()
    except CredbrokerError as error:
        faults.extend(str(error).split("\n"))
        return None


def describe(folder: Folder, described: dict[str, Any]) -> None:
    """Write where it is served, for whoever is told the directory only. Nothing in it is secret."""
    folder.write(DESCRIPTION, json.dumps(described).encode(), group_readable=True)


def clear(folder: Folder) -> None:
    """Remove what a sidecar that was killed has left: the files that its own description lists, and no other.

    The folder is held, so that no other sidecar is at work in it; but it may be a user's own, with more than ours in it.
    """
    try:
        described = json.loads(SystemEnvironment().read(f"{folder.path}/{DESCRIPTION}", within=folder.path))
        names = [*described["bindings"], STATUS]
        left = [*map(token_file, map(str, names)), *map(str, described.get("files", ()))]
    except (OSError, ValueError, LookupError, TypeError):
        return
    for name in left:
        with contextlib.suppress(ConfigurationError):
            folder.remove(name)


def sweep() -> None:
    """Remove what processes of this user that were killed have left of directories of their own (``own_directory``)."""
    environment = SystemEnvironment()
    above, _, name = default_directory(environment.variable, os.geteuid()).rpartition("/")
    for entry in _names(above):
        own = re.fullmatch(rf"{re.escape(name)}-([0-9]+)-[0-9a-f]{{8}}", entry)
        if own is not None and not _names(f"/proc/{own[1]}"):
            with (
                contextlib.suppress(ConfigurationError, OSError),
                contextlib.closing(open_folder(f"{above}/{entry}", None)) as folder,
            ):
                clear(folder)
                for left in (DESCRIPTION, SOCKET):
                    folder.remove(left)
                folder.remove_empty()


def _names(path: str) -> tuple[str, ...]:
    """What a directory holds; nothing, where it cannot be looked into."""
    with contextlib.suppress(OSError):
        return SystemEnvironment().names(path) or ()
    return ()


def check_no_google_login(home: str) -> None:
    """Raise ``ConfigurationError`` where somebody's own login to Google Cloud lies in the home folder.

    object_store and Go's SDK take it before any metadata server, and no variable keeps them from it.
    """
    folder = f"{home}/.config/gcloud"
    if home and "application_default_credentials.json" in _names(folder):
        raise ConfigurationError(
            f"{folder}/application_default_credentials.json would win over the binding: move it away, or give another HOME"
        )
