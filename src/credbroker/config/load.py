"""From files, or from a program's own data, to a ``Platform``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import reduce

from pydantic import ValidationError

from credbroker.config.bindings import sidecar_settings
from credbroker.config.compile import compiled
from credbroker.config.faults import Fault
from credbroker.config.platform import PlatformConfig
from credbroker.config.reader import read_yaml
from credbroker.config.settings import Platform, SidecarSettings
from credbroker.config.sidecar import SidecarConfig
from credbroker.config.tree import Node, merged, tree_of
from credbroker.context import Environment
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.system.environment import SystemEnvironment

_PLACE = ("directory", "listen", "readers")
_ANYWHERE = "127.0.0.1:0"  # where the address cannot be read, no port is said to be in use
_logger = logging.getLogger("credbroker.config")


def load_files(paths: Sequence[str | os.PathLike[str]], environment: Environment | None = None) -> Platform:
    """The platform that the files describe, merged in their order: map by map, everything else is replaced.

    Raises one ``ConfigurationError`` for all faults, each with file, line, field and remedy. What is only doubtful is a
    warning of the logger ``credbroker.config``, and stands in ``Platform.warnings``.
    """
    names = tuple(os.fspath(path) for path in paths)
    failure: CredbrokerError
    try:
        return _told(_from_files(names, environment or SystemEnvironment()))
    except ConfigurationError as error:
        failure = error.fresh()
    # Raised from here, because a traceback keeps each frame's variables, and the frames below held the files' text.
    raise failure


def from_data(data: PlatformConfig | Mapping[str, object]) -> Platform:
    """The platform that a program describes; the rules and errors are those of a file, without file and line."""
    failure: CredbrokerError
    try:
        return _told(_from_data(data))
    except ConfigurationError as error:
        failure = error.fresh()
    del data
    raise failure


def stated_sidecar(
    paths: Sequence[str | os.PathLike[str]], environment: Environment | None = None
) -> SidecarSettings | None:
    """Where a sidecar of files that have faults would serve: its directory, its address and its readers, and no binding.

    For who tells what is wrong there beside what is wrong in the files. None where there is no such section.
    """
    names = tuple(os.fspath(path) for path in paths)
    try:
        tree = _tree(names, environment or SystemEnvironment(), [])
        section = tree.entries().get("sidecar", Node(None))
        said = {key: node.plain() for key, node in section.entries().items() if key in _PLACE and node.value is not None}
        sound = {key: value for key, value in said.items() if _is_sound({key: value})}
        if "listen" in said:
            sound.setdefault("listen", _ANYWHERE)
        return sidecar_settings(SidecarConfig.model_validate(sound), tree, {}) if section.entries() else None
    except ConfigurationError:
        return None


def _is_sound(said: Mapping[str, object]) -> bool:
    try:
        SidecarConfig.model_validate(said)
    except ValidationError:
        return False
    return True


def _from_files(names: tuple[str, ...], environment: Environment) -> Platform:
    repeated: list[Fault] = []
    tree = _tree(names, environment, repeated)
    return compiled(PlatformConfig.model_validate({}, context={"tree": tree, "repeated": repeated}), tree, names)


def _tree(names: tuple[str, ...], environment: Environment, repeated: list[Fault]) -> Node:
    if not names:
        raise ConfigurationError("no configuration file is named")
    return reduce(merged, [read_yaml(_content(name, environment), name, repeated) for name in names])


def _from_data(data: PlatformConfig | Mapping[str, object]) -> Platform:
    if isinstance(data, PlatformConfig):
        return compiled(data, tree_of(data.model_dump(exclude_unset=True)))
    if not isinstance(data, Mapping):
        raise ConfigurationError("a configuration is a PlatformConfig or a map of sections")
    tree = tree_of(data)
    return compiled(PlatformConfig.model_validate({}, context={"tree": tree}), tree)


def _content(name: str, environment: Environment) -> bytes:
    reason: str
    try:
        return environment.read(name)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
    except ValueError:
        reason = "its name holds a NUL character"
    raise ConfigurationError(f"{name}: cannot be read: {reason}: correct its path, or let this process read it")


def _told(platform: Platform) -> Platform:
    for warning in platform.warnings:
        _logger.warning("%s", warning)
    return platform
