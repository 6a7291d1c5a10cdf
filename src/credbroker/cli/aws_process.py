"""``credbroker aws-process``: a binding's keys from a running sidecar, as AWS's ``credential_process`` tells them.

An SDK starts this for each credential and waits for it, so nothing is loaded that the question does not need.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from credbroker.cli.command import Command, Outcome
from credbroker.cli.sidecar_directory import add_directory
from credbroker.errors import ConfigurationError, CredbrokerError

_PROTOCOL = "aws-container"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("binding", metavar="BINDING", help="a binding of the sidecar that is served by aws-container")
    add_directory(parser)
    parser.epilog = (
        "For ~/.aws/config: credential_process = credbroker aws-process BINDING. Prints the keys for an SDK to read, and "
        "nothing else. It asks the running sidecar, and nobody besides. Exit code 69: that does not answer, or has no keys "
        "now; 77: it has none for this user, or the issuer refused; 78: there is no such sidecar or binding."
    )


def _run(arguments: Namespace) -> Outcome:
    error = _hand_over(arguments)
    if error is not None:
        raise error  # from here: the frame below held the keys
    return Outcome()


def _hand_over(arguments: Namespace) -> CredbrokerError | None:
    from credbroker.sidecar.client import ask, find, is_name, refusal
    from credbroker.sidecar.directory import token_file
    from credbroker.wire.process_credentials import process_credentials

    binding: str = arguments.binding
    sidecar = find(arguments.directory, owner=arguments.owner)
    if not is_name(binding) or _PROTOCOL not in sidecar.bindings.get(binding, ()):
        known = ", ".join(name for name, protocols in sidecar.bindings.items() if _PROTOCOL in protocols) or "none"
        raise ConfigurationError(
            f"the sidecar of {sidecar.directory} serves no binding {binding!r} by {_PROTOCOL} (it serves {known})"
        )
    try:
        status, body = ask(sidecar, f"/{binding}/{_PROTOCOL}", token_file(binding))
        if status != 200:
            return refusal(status, body, f"the keys of {binding}", hint="; `credbroker status` says why")
        told = process_credentials(body)
    except CredbrokerError as error:
        return error.fresh()
    sys.stdout.write(f"{told.decode()}\n")
    return None


COMMAND = Command(
    "aws-process", "Print a binding's keys from a running sidecar, for credential_process.", _add_arguments, _run
)
