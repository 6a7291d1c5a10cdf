"""The ``credbroker`` command: arguments in, calls of the library, an exit code out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from credbroker.cli.command import Command, Outcome
from credbroker.cli.exit_codes import ExitCode, exit_code_of
from credbroker.cli.terminal import shown
from credbroker.errors import CredbrokerError

NAMES = ("explain", "doctor", "validate", "scan", "demo", "sidecar", "exec", "status", "aws-process")
"""Of the commands, in the order in which they are listed. The module of that name has the command as its ``COMMAND``."""

_DISTRIBUTION = "credbroker-data"


def loaded(names: Sequence[str] = NAMES) -> tuple[Command, ...]:
    """The commands of these names."""
    return tuple(import_module(f"{__name__}.{name.replace('-', '_')}").COMMAND for name in names)


def main(argv: Sequence[str] | None = None, *, commands: Sequence[Command] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code (``ExitCode``).

    Errors go to standard error as one text without a traceback. With ``--json`` the last line of standard output is one
    object, for an error too: ``{"ok": false, "error": <class>, "message": <text>}``.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(_asked_for(argv) if commands is None else commands)
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
        if arguments.json and outcome.report:
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


def _asked_for(argv: Sequence[str]) -> tuple[Command, ...]:
    """The one command that is named; else all of them, to be listed. An SDK waits for all that ``aws-process`` loads."""
    named = next((word for word in argv if not word.startswith("-")), None)
    return loaded((named,) if named in NAMES else NAMES)


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="credbroker",
        description="Short-lived, narrowly scoped credentials for data pipelines, refreshed before they expire.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    parser.set_defaults(command=None)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for command in commands:
        own = subparsers.add_parser(command.name, help=command.summary, description=command.summary, allow_abbrev=False)
        own.add_argument("--json", action="store_true", help="end with one JSON object as the last line of the output")
        command.add_arguments(own)
        own.set_defaults(command=command)
    return parser


class _Version(argparse.Action):
    """argparse's own action would have to be given the version before anybody asks, which takes a third of a start."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> None:
        print(f"credbroker {_version()}")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

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


__all__ = ["NAMES", "Command", "ExitCode", "Outcome", "loaded", "main"]
