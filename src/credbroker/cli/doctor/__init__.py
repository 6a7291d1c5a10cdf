"""``credbroker doctor``: whether what is claimed holds here, tried against the real thing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib.util import find_spec

from credbroker.cli.command import Command, Outcome
from credbroker.cli.configuration import add_config, broker_of
from credbroker.errors import ConfigurationError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--scope", metavar="STORAGE", required=True, help="the profile under storage: whose store is to be tried; S3 only"
    )
    parser.add_argument(
        "--location", metavar="LOCATION", help="where to try, a location that the profile allows (default: its first)"
    )
    add_config(parser)
    parser.epilog = (
        "Issues real credentials for a folder of a random name below the location, and tries to reach outside it with "
        "them: to read, copy, list, write and delete beside it, above it and outside the profile, and to assume the role "
        "again without a policy. The store, or its STS, has to refuse each attempt. What must work inside is tried first, "
        "since keys that open nothing prove nothing. What it writes, a few bytes under names of its own, it deletes again; "
        "nothing else is changed. Exit code 0: each attempt was refused; 1: one was not, or nothing was proven; 69: the "
        "store did not answer."
    )


def _run(arguments: Namespace) -> Outcome:
    if find_spec("boto3") is None:
        raise ConfigurationError("doctor --scope needs boto3: pip install 'credbroker-data[aws]'")
    from credbroker.cli.doctor.scope import check
    from credbroker.cli.doctor.show import show

    with broker_of(arguments) as broker:
        found = check(broker, arguments.scope, arguments.location)
    if not arguments.json:
        show(found)
    return Outcome(found.code, found.as_json())


COMMAND = Command("doctor", "Try whether a store keeps credentials inside what they are for.", _add_arguments, _run)
