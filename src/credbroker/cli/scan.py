"""``credbroker scan``: credentials in files that are about to be committed, or that have been."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from credbroker.cli.command import Command, Outcome
from credbroker.cli.findings import Report, add_format, content, counted, print_formatted, print_lines, unique
from credbroker.cli.terminal import shown
from credbroker.system.walk import files_below

SKIPPED = frozenset({".git", ".venv", "node_modules", "__pycache__"})
_LARGEST = "larger than 1 MiB"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a folder with all below it")
    add_format(parser)
    parser.epilog = (
        "YAML, Kubernetes manifests, Helm templates and .env files are looked through field by field, any other text for "
        "credentials of an unmistakable form. Skipped: .git, .venv, node_modules, __pycache__, symbolic links below a "
        "folder, what is no text, files over 1 MiB. '# pragma: allowlist secret' on a line allows what stands there. No "
        "value is ever shown. Exit code 1: something was found; 78: a file cannot be read, or detect-secrets (extra 'scan') "
        "is missing."
    )


def _run(arguments: Namespace) -> Outcome:
    from credbroker.config.detect import detectors

    # Before a file is read: the error's traceback would hold its text.
    detectors()
    report = Report()
    for path in _files(arguments.paths, report):
        _scan(path, report)
    report.findings.sort()
    if arguments.format == "text" and not arguments.json:
        print_lines(report.findings)
        print(_summary(report))
    for note in report.notes:
        print(f"credbroker: {shown(note)}", file=sys.stderr)
    print_formatted(arguments, report)
    return Outcome(report.code, report.as_json())


def _files(paths: list[str], report: Report) -> list[str]:
    found: list[str] = []
    for path in paths:
        try:
            found.extend(files_below(path, skipped=SKIPPED))
        except (OSError, ValueError) as error:
            _unreadable(path, (getattr(error, "strerror", None) or "its name holds a NUL character").lower(), report)
    return unique(found)


def _scan(path: str, report: Report) -> None:
    from credbroker.config.scan import scanned

    raw, reason = content(path)
    if reason == _LARGEST:
        report.notes.append(f"{path}: is larger than 1 MiB: skipped")
    elif reason:
        _unreadable(path, reason, report)
    else:
        found = scanned(path, raw)
        report.files += found.is_text
        report.skipped += not found.is_text
        report.findings.extend(found.findings)
        report.allowed += found.allowed
        if found.note:
            report.notes.append(f"{path}: {found.note}")


def _unreadable(path: str, reason: str, report: Report) -> None:
    report.unreadable.append(path)
    print(f"credbroker: {shown(path)}: cannot be read: {reason}", file=sys.stderr)


def _summary(report: Report) -> str:
    found = (
        counted(len(report.findings), "potential credential", "potential credentials")
        if report.findings
        else "nothing found"
    )
    allowed = f"; {report.allowed} allowed by a pragma" if report.allowed else ""
    skipped = f"; {report.skipped} that are no text skipped" if report.skipped else ""
    unread = f"; {len(report.unreadable)} not read" if report.unreadable else ""
    return f"{found} in {counted(report.files, 'file', 'files')}{allowed}{skipped}{unread}"


COMMAND = Command(
    "scan", "Look for credentials in YAML, .env files, Kubernetes manifests and other text.", _add_arguments, _run
)
