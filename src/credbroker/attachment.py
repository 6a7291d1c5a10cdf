"""Attachment: how a pickled reference finds its broker again, in this process or another one."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from credbroker.errors import ConfigurationError
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    from credbroker.brokerage import Brokerage

View = TypeVar("View")

CONFIG_VARIABLE = "CREDBROKER_CONFIG"
_LARGEST = 64


@dataclass(frozen=True, slots=True)
class Reference:
    """What a broker pickles as. ``token`` names the very object, for the process that has it; nothing here is secret."""

    token: str
    paths: tuple[str, ...]
    fingerprint: str


_lock = threading.RLock()
making = threading.RLock()
"""Held from looking for a broker to having made it, so that sixteen tables unpickled at once make one and not sixteen."""
_brokerages: OrderedDict[str, Brokerage] = OrderedDict()


def register(brokerage: Brokerage) -> None:
    """Keep it, strongly, until it is closed: a table that was unpickled outlives the name its broker had."""
    with _lock:
        _brokerages[brokerage.reference.token] = brokerage
        while len(_brokerages) > _LARGEST:
            _brokerages.popitem(last=False)


def forget(brokerage: Brokerage) -> None:
    """It was closed."""
    with _lock:
        _brokerages.pop(brokerage.reference.token, None)


def of_paths(paths: tuple[str, ...]) -> Brokerage | None:
    """This process's broker of those files, the latest if there are several."""
    with _lock:
        return next((known for known in reversed(_brokerages.values()) if known.reference.paths == paths), None)


def attached(reference: Reference) -> Brokerage | None:
    """This process's broker for a reference: the very one, else one of the same configuration."""
    with _lock:
        brokerage = _brokerages.get(reference.token)
        if brokerage is not None:
            return brokerage
        same = (known for known in reversed(_brokerages.values()) if known.reference.fingerprint == reference.fingerprint)
        return next(same, None)


def first(views: WeakValueDictionary[Hashable, View], key: Hashable, made: View) -> View:
    """What ``views`` have for ``key``, else ``made``, which they have from now on, for as long as anybody else does."""
    with _lock:
        view = views.get(key)
        if view is None:
            view = views[key] = made
    return view


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


def configured() -> tuple[str, ...]:
    """The files that ``$CREDBROKER_CONFIG`` names here. Raises ``ConfigurationError`` where it names none."""
    from credbroker.system.environment import SystemEnvironment

    named = SystemEnvironment().variable(CONFIG_VARIABLE)
    if not named:
        raise ConfigurationError(f"${CONFIG_VARIABLE} is not set: name the platform.yaml there, or call Broker.from_yaml()")
    return split(named)


def split(configured: str) -> tuple[str, ...]:
    """The value of ``$CREDBROKER_CONFIG``: one file, or several separated as a PATH is."""
    return absolute([path for path in configured.split(os.pathsep) if path])


def absolute(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """The paths as a process with another working directory finds them."""
    return tuple(os.path.abspath(path) for path in paths)


def _new_locks() -> None:
    global _lock, making
    _lock, making = threading.RLock(), threading.RLock()


in_forked_child(_new_locks)
