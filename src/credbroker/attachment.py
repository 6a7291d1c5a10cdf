"""Attachment: how a pickled reference finds its broker again, in this process or another one."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from credbroker.errors import ConfigurationError
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    from credbroker.core import Core

CONFIG_VARIABLE = "CREDBROKER_CONFIG"
_LARGEST = 64


@dataclass(frozen=True, slots=True)
class Reference:
    """What a broker pickles as. ``token`` names the very object, for the process that has it; nothing here is secret."""

    token: str
    paths: tuple[str, ...]
    fingerprint: str


_lock = threading.Lock()
_cores: OrderedDict[str, Core] = OrderedDict()


def register(core: Core) -> None:
    """Keep it, strongly, until it is closed: a table that was unpickled outlives the name its broker had."""
    with _lock:
        _cores[core.reference.token] = core
        while len(_cores) > _LARGEST:
            _cores.popitem(last=False)


def forget(core: Core) -> None:
    """It was closed."""
    with _lock:
        _cores.pop(core.reference.token, None)


def of_paths(paths: tuple[str, ...]) -> Core | None:
    """This process's broker of those files, the latest if there are several."""
    with _lock:
        return next((core for core in reversed(_cores.values()) if core.reference.paths == paths), None)


def attached(reference: Reference) -> Core | None:
    """This process's broker for a reference: the very one, else one of the same configuration."""
    with _lock:
        core = _cores.get(reference.token)
        if core is not None:
            return core
        return next(
            (core for core in reversed(_cores.values()) if core.reference.fingerprint == reference.fingerprint), None
        )


def files_for(reference: Reference, configured: str | None) -> tuple[str, ...]:
    """The files that a process without that broker is to load: its own configuration first, else the reference's paths.

    Raises ``ConfigurationError`` where there are none: never a fall to the ambient identity.
    """
    if configured:
        return split(configured)
    if reference.paths:
        return reference.paths
    raise ConfigurationError(
        f"this credential's broker was made from no file, and ${CONFIG_VARIABLE} is not set here: "
        "set it to the same platform.yaml"
    )


def split(configured: str) -> tuple[str, ...]:
    """The value of ``$CREDBROKER_CONFIG``: one file, or several separated as a PATH is."""
    return tuple(os.path.abspath(path) for path in configured.split(os.pathsep) if path)


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _lock = threading.Lock()


in_forked_child(_new_lock)
