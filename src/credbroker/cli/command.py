"""What a command of ``credbroker`` is: one module's ``COMMAND``. It parses nothing and exits nowhere by itself."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from credbroker.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. ``report`` is the object that ``--json`` prints as the last line; values are plain JSON ones."""

    code: ExitCode = ExitCode.FINE
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
