"""What is shown in a terminal: events scroll by, and below them stand the scan's progress and the credential's life."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from credbroker.cli.demo.report import Report, ScanResult
from credbroker.cli.demo.view import conclusion, ending, seconds_left
from credbroker.cli.fence import Attempt

_FRAMES = 10  # a second
_LOW = 1 / 3  # of its life: the bar turns yellow


class LiveView:
    """Draws with ``rich``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._title = ""
        self._scanning = False
        self._expected = 0
        self._read = 0
        self._replaced = 0
        self._refused = 0
        self._name: str | None = None
        self._ends: datetime | None = None
        self._life = 1.0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=_FRAMES, transient=True)

    def showing(self) -> AbstractContextManager[object]:
        return self._live

    def say(self, text: str) -> None:
        self._print(f"[dim]{escape(text)}[/]")

    def begin(self, title: str, rows: int) -> None:
        with self._lock:
            self._title, self._expected, self._read, self._scanning = title, rows, 0, True
            self._replaced, self._refused, self._name, self._ends = 0, 0, None, None
        self._print(f"\n[bold]{escape(title)}[/]")

    def rows(self, count: int) -> None:
        with self._lock:
            self._read = count

    def credential(self, name: str, expires_at: datetime | None) -> None:
        with self._lock:
            before, self._name, self._ends = self._name, name, expires_at
            if before == name:
                return
            self._life = max(seconds_left(expires_at), 0.1)
            self._replaced += before is not None
            number, read, life = self._replaced, self._read, self._life
        if before is None:
            self._print(f"  credential [cyan]{escape(name)}[/], expires in {life:.1f} s")
        else:
            at = f"[dim]at {read:,} rows[/]"
            self._print(f"  refresh {number}: [cyan]{escape(before)}[/] -> [cyan]{escape(name)}[/], {life:.1f} s  {at}")

    def refused(self, text: str) -> None:
        with self._lock:
            self._refused += 1
        self._print(f"  [bold red]the store refused[/] {escape(text)}")

    def end(self, result: ScanResult) -> None:
        with self._lock:
            self._scanning = False
            expected = self._expected
        colour = "red" if result.error is not None else "green"
        self._print(f"  [{colour}]{escape(ending(result, expected))}[/]")

    def attempt(self, attempt: Attempt) -> None:
        verdict = "[green]refused[/]" if attempt.refused else "[bold red]NOT REFUSED[/]"
        self._print(f"  {verdict} [dim]{escape(attempt.answer)}[/] {escape(attempt.what)}")

    def conclude(self, report: Report) -> None:
        self._print("")
        for holds, text in conclusion(report):
            self._print(f"[{'green' if holds else 'bold red'}]{'ok ' if holds else 'NOT'}[/] {escape(text)}")
        verdict = "[bold green]ok[/]" if report.ok else "[bold red]FAILED[/]"
        self._print(f"{verdict} in {report.seconds:.0f} s")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _render(self) -> RenderableType:
        with self._lock:
            if not self._scanning:
                return Text("")
            left = min(seconds_left(self._ends), self._life)
            share = left / self._life
            grid = Table.grid(padding=(0, 2))
            grid.add_column(width=12)
            grid.add_column(width=42)
            grid.add_column()
            rows = ProgressBar(self._expected, self._read, width=40, complete_style="cyan", finished_style="cyan")
            grid.add_row("rows read", rows, f"{self._read:,} of {self._expected:,}")
            style = "green" if share > _LOW else "yellow" if share > 0 else "red"
            name = f"[cyan]{escape(self._name)}[/]" if self._name else "none yet"
            life = ProgressBar(1.0, share, width=40, complete_style=style, finished_style=style)
            grid.add_row("credential", life, f"{name}  {left:.1f} s left")
            grid.add_row("", "", f"replaced {self._replaced} times, refused {self._refused}")
            return Group(Text(""), grid)
