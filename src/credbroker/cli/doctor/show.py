"""``doctor --scope`` for people: what was tried, with the store's answers, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credbroker.cli.doctor.report import Report, worked
from credbroker.cli.fence import Attempt
from credbroker.cli.terminal import console, print_fields, shown

if TYPE_CHECKING:
    from rich.console import Console

_GOOD, _BAD, _OPEN = "green", "bold red", "yellow"


def show(report: Report) -> None:
    """Print the report: a table in a terminal, lines into a pipe."""
    out = console()
    where = f" ({report.where})" if report.where else ""
    fields = [("profile", f"{report.profile}{where}, {report.access.value}"), ("location", str(report.location))]
    if report.controls:
        fields += [("folder", str(report.folder)), ("sibling", str(report.sibling))]
    print_fields(out, fields)
    _print_tries(out, "Inside, where it must work", [(*_of_control(one), one) for one in report.controls])
    _print_tries(out, "Outside, where it must be refused", [(*_of_attempt(one), one) for one in report.attempts])
    _print_lines(out, report)


def _of_control(control: Attempt) -> tuple[str, str]:
    return ("worked", _GOOD) if worked(control) else ("FAILED", _BAD)


def _of_attempt(attempt: Attempt) -> tuple[str, str]:
    if attempt.refused:
        return "refused", _GOOD
    if attempt.kept:
        return "absent", _OPEN
    return ("ALLOWED", _BAD) if attempt.allowed else ("open", _OPEN)


def _print_tries(out: Console | None, title: str, rows: list[tuple[str, str, Attempt]]) -> None:
    if not rows:
        return
    if out is None:
        print(f"\n{title}:")
        answers = max(len(attempt.answer) for _, _, attempt in rows)
        grants = max(len(attempt.grant) for _, _, attempt in rows)
        for word, _, attempt in rows:
            print(f"  {word:<7}  {attempt.answer:<{answers}}  {attempt.grant:<{grants}}  {shown(attempt.what)}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("", "the store's answer", "grant", "what was tried", title=title, title_justify="left")
    for word, style, attempt in rows:
        what = Text(shown(attempt.what), overflow="fold")
        table.add_row(Text(word, style), attempt.answer, attempt.grant, what)
    out.print()
    out.print(table)


def _print_lines(out: Console | None, report: Report) -> None:
    lines = [(_BAD, finding) for finding in report.findings]
    lines += [("dim", f"note: {note}") for note in report.notes]
    lines += [(f"bold {_GOOD}" if report.ok else _BAD, report.verdict)]
    if out is None:
        print()
        for _, line in lines:
            print(shown(line))
        return
    from rich.text import Text

    out.print()
    for style, line in lines:
        out.print(Text(shown(line), style))
