"""The ``credbroker`` command: arguments in, calls of the library, an exit code out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from credbroker.cli.command import Command, Outcome
from credbroker.cli.demo import COMMAND as DEMO
from credbroker.cli.doctor import COMMAND as DOCTOR
from credbroker.cli.exit_codes import ExitCode, exit_code_of
from credbroker.cli.explain import COMMAND as EXPLAIN
from credbroker.cli.scan import COMMAND as SCAN
from credbroker.cli.terminal import shown
from credbroker.cli.validate import COMMAND as VALIDATE
from credbroker.errors import CredbrokerError

COMMANDS: tuple[Command, ...] = (EXPLAIN, DOCTOR, VALIDATE, SCAN, DEMO)

_DISTRIBUTION = "credbroker-data"


def main(argv: Sequence[str] | None = None, *, commands: Sequence[Command] = COMMANDS) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code (``ExitCode``).

    Errors go to standard error as one text without a traceback. With ``--json`` the last line of standard output is one
    object, for an error too: ``{"ok": false, "error": <class>, "message": <text>}``.
    """
    parser = _parser(commands)
    try:
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help(sys.stderr)
            parser.exit(ExitCode.USAGE)
    except SystemExit as stop:  # argparse ends the process itself: for --help and --version too
        return int(stop.code or 0)
    command: Command = arguments.command
    try:
        outcome = command.run(arguments)
        if arguments.json:
            _print_object(dict(outcome.report))
        sys.stdout.flush()
    except CredbrokerError as error:
        return _failed(type(error).__name__, str(error), exit_code_of(error), as_json=arguments.json)
    except KeyboardInterrupt:
        return _failed("KeyboardInterrupt", "interrupted", ExitCode.INTERRUPTED, as_json=arguments.json)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to tell it. At exit Python would flush, and fail, once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # noqa: TID251 - no file of anybody's
        return ExitCode.FINDING
    except Exception as error:  # noqa: BLE001 - nobody above us would do better
        # A foreign error's text may hold a response's body or a header: only its class and its place are told.
        kind = type(error).__name__
        message = f"unexpected {kind} at {_last_own_frame(error)}"
        return _failed(kind, message, ExitCode.FINDING, as_json=arguments.json)
    return outcome.code


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="credbroker",
        description="Short-lived, narrowly scoped credentials for data pipelines, refreshed before they expire.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"credbroker {_version()}")
    parser.set_defaults(command=None)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for command in commands:
        own = subparsers.add_parser(command.name, help=command.summary, description=command.summary, allow_abbrev=False)
        own.add_argument("--json", action="store_true", help="end with one JSON object as the last line of the output")
        command.add_arguments(own)
        own.set_defaults(command=command)
    return parser


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def _failed(kind: str, message: str, code: ExitCode, *, as_json: bool) -> ExitCode:
    lines = "\n".join(map(shown, message.split("\n")))  # a file's faults come a line each
    print(f"credbroker: {lines}", file=sys.stderr)
    if as_json:
        _print_object({"ok": False, "error": kind, "message": message})
    return code


def _print_object(report: object) -> None:
    print(json.dumps(report, separators=(",", ":")), flush=True)


def _last_own_frame(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}credbroker{os.sep}" in frame.filename] or frames
    last = own[-1]
    return f"{last.filename.rpartition(f'{os.sep}credbroker{os.sep}')[2]}:{last.lineno}"


__all__ = ["COMMANDS", "Command", "ExitCode", "Outcome", "main"]
