"""What a command of ``credbroker`` is: one module's ``COMMAND``. It parses nothing and exits nowhere by itself."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from credbroker.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. ``report`` is the object that ``--json`` prints as the last line; values are plain JSON ones.

    It is empty where the command has printed its object itself. ``code`` is an ``ExitCode``, save where the command ran
    another one, whose code it hands on.
    """

    code: int = ExitCode.FINE
    report: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. ``run`` prints for people, returns its outcome, and raises ``CredbrokerError`` where it cannot go on.

    It finds ``json`` among its arguments: whether ``--json`` was given, so that standard output is read by a program.
    """

    name: str
    summary: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Outcome]
