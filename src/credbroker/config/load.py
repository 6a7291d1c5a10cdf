"""From files, or from a program's own data, to a ``Platform``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import reduce

from credbroker.config.compile import compiled
from credbroker.config.platform import PlatformConfig
from credbroker.config.reader import read_yaml
from credbroker.config.settings import Platform
from credbroker.config.tree import merged, tree_of
from credbroker.context import Environment
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.system.environment import SystemEnvironment

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


def _from_files(names: tuple[str, ...], environment: Environment) -> Platform:
    if not names:
        raise ConfigurationError("no configuration file is named")
    tree = reduce(merged, [read_yaml(_content(name, environment), name) for name in names])
    return compiled(PlatformConfig.model_validate({}, context={"tree": tree}), tree, names)


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
    raise ConfigurationError(f"{name}: cannot be read: {reason}")


def _told(platform: Platform) -> Platform:
    for warning in platform.warnings:
        _logger.warning("%s", warning)
    return platform
