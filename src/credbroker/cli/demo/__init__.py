"""``credbroker demo``: the main job on servers of its own, with what must fail beside what must not."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib.util import find_spec

from credbroker.cli.command import Command, Outcome
from credbroker.cli.exit_codes import ExitCode
from credbroker.errors import ConfigurationError

_NEEDED = ("pyiceberg", "pyarrow", "boto3")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = (
        "Starts SeaweedFS on loopback with sessions of a few seconds, scans an Iceberg table while the credentials "
        "behind it are replaced, tries to reach outside the granted prefix, and runs stock PyIceberg at the same pace, "
        "which must fail. Takes under a minute and leaves nothing behind. Exit code 0: all was as claimed; 1: it was not."
    )


def _run(arguments: Namespace) -> Outcome:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"the demo needs {', '.join(missing)}: pip install 'credbroker-data[demo]'")
    from credbroker.cli.demo.show import show

    found = show(for_a_program=arguments.json)
    return Outcome(ExitCode.FINE if found.ok else ExitCode.FINDING, found.as_json())


COMMAND = Command("demo", "Show a long PyIceberg job outlive its credentials, on servers of its own.", _add_arguments, _run)
