"""``--config``: which platform files a command reads."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from credbroker.attachment import CONFIG_VARIABLE, split
from credbroker.errors import ConfigurationError

if TYPE_CHECKING:
    from credbroker.broker import Broker


def add_config(parser: ArgumentParser) -> None:
    """Give a command the option; ``broker_of`` reads it."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        help=f"the platform file; several are merged in their order (default: ${CONFIG_VARIABLE}, separated as a PATH is)",
    )


def paths_of(arguments: Namespace) -> tuple[str, ...]:
    """The files that are named, else those of ``$CREDBROKER_CONFIG``. Raises ``ConfigurationError`` if there are none."""
    from credbroker.system.environment import SystemEnvironment

    paths = arguments.config or split(SystemEnvironment().variable(CONFIG_VARIABLE) or "")
    if not paths:
        raise ConfigurationError(f"no platform file is named: give --config FILE, or set ${CONFIG_VARIABLE}")
    return tuple(paths)


def broker_of(arguments: Namespace) -> Broker:
    """The broker of the files that are named, else of ``$CREDBROKER_CONFIG``. Raises ``ConfigurationError``."""
    from credbroker.broker import Broker  # it costs pydantic, which `credbroker --help` does not pay for

    return Broker.from_yaml(*paths_of(arguments))
