"""Findings in files: how they are read, and how findings are shown to people, programs, code hosts and CI."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.terminal import console, shown
from credbroker.system.environment import SystemEnvironment

if TYPE_CHECKING:
    from credbroker.config.scan import Finding

FORMATS = ("text", "json", "sarif", "github")
_REMEDY = "Put the secret where the platform keeps secrets, name it by secret_ref, and replace it at its issuer."
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(slots=True)
class Report:
    """What a command found in all its files, in their order."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    allowed: int = 0
    skipped: int = 0
    """Files that are no text, as pictures and archives are."""
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def code(self) -> ExitCode:
        """A finding weighs more than a file that could not be read: it is what has to be acted upon."""
        if self.findings:
            return ExitCode.FINDING
        return ExitCode.CONFIGURATION if self.unreadable else ExitCode.FINE

    def as_json(self) -> dict[str, object]:
        """The object of ``--json``."""
        return {
            "ok": self.code is ExitCode.FINE,
            "files": self.files,
            "findings": [
                {
                    "file": one.file,
                    "line": one.line,
                    "field": one.field or None,
                    "type": one.type,
                    "credential": not one.fault,
                    "message": one.message,
                }
                for one in self.findings
            ],
            "allowed": self.allowed,
            "skipped": self.skipped,
            "unreadable": self.unreadable,
            "notes": self.notes,
        }


def add_format(parser: ArgumentParser) -> None:
    """Give a command ``--format``."""
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="json: the object of --json; sarif: SARIF 2.1.0; github: annotations in a workflow (default: %(default)s)",
    )


def content(path: str) -> tuple[bytes, str]:
    """A file's content; or nothing, and why it cannot be read."""
    try:
        return SystemEnvironment().read(path), ""
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return b"", reason[:1].lower() + reason[1:]
    except ValueError:
        return b"", "its name holds a NUL character"


def print_formatted(arguments: Namespace, report: Report) -> None:
    """Print the findings to standard output in a format for programs; for ``text``, or beside ``--json``, nothing."""
    if arguments.json:
        return
    if arguments.format == "json":
        print(json.dumps(report.as_json(), separators=(",", ":")))
    elif arguments.format == "sarif":
        print(json.dumps(_sarif(report.findings), indent=2))
    elif arguments.format == "github":
        for one in report.findings:
            print(_annotation(one))


def print_lines(findings: Sequence[Finding]) -> None:
    """For people: a table in a terminal, else a line each, as compilers write them."""
    out = console() if findings else None
    if out is None:
        for one in findings:
            print(f"{shown(one.file)}:{one.line}: {shown(one.message)}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("file", "field", "found"):
        table.add_column(name, overflow="fold")
    for one in findings:
        place = Text(f"{shown(one.file)}:{one.line}", "bold")
        table.add_row(place, Text(shown(one.field or "-")), Text(shown(one.fault or one.type), "red"))
    out.print(table)


def counted(number: int, one: str, several: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {one if number == 1 else several}"


def _annotation(finding: Finding) -> str:
    # https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions; escaped as actions/toolkit does.
    where = f"file={_property(finding.file)},line={finding.line},title={_property(finding.type)}"
    return f"::error {where}::{_data(finding.message)}"


def _data(text: str) -> str:
    return shown(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _sarif(findings: Sequence[Finding]) -> dict[str, object]:
    """A log of the Static Analysis Results Interchange Format 2.1.0 (OASIS), with no snippet: it would show the value."""
    types = sorted({one.type for one in findings})
    credential = {one.type for one in findings if not one.fault}
    driver: dict[str, object] = {
        "name": "credbroker",
        "semanticVersion": _version(),
        "rules": [
            {
                "id": _rule(name),
                "name": "".join(re.findall(r"[A-Za-z0-9]+", name)),
                "shortDescription": {"text": f"{name} in a file" if name in credential else f"{name} in floe.yaml"},
                "help": {
                    "text": _REMEDY
                    if name in credential
                    else "floe.yaml holds logical names; all else stands in platform.yaml."
                },
                "defaultConfiguration": {"level": "error"},
                "properties": {"tags": ["security"]},
            }
            for name in types
        ],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, types.index(one.type)) for one in findings],
            }
        ],
    }


def _result(finding: Finding, rule: int) -> dict[str, object]:
    location: dict[str, object] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(finding.file)},
            "region": {"startLine": finding.line},
        }
    }
    if finding.field:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.field}]
    return {
        "ruleId": _rule(finding.type),
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": finding.message},
        "locations": [location],
    }


def _rule(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _uri(path: str) -> str:
    # Relative to the root of the repository, which is where CI runs; code hosts match it with the file's name there.
    encoded = quote(path.removeprefix("./"), safe="/", errors="surrogateescape")
    return f"file://{encoded}" if path.startswith("/") else encoded


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # costs more than all else here

    try:
        return version("credbroker-data")
    except PackageNotFoundError:
        return "0.0.0"


def unique(paths: Iterable[str]) -> list[str]:
    """The paths, each once, in their order."""
    return list(dict.fromkeys(paths))
