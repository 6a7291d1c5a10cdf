"""What is shown while it happens: lines, for a pipe or a file. ``live`` has the other one, for a terminal."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Protocol

from credbroker.cli.demo.report import LEAST_REFRESHES, Report, ScanResult
from credbroker.cli.fence import Attempt
from credbroker.system.clock import SystemClock

_STEPS = 6


class View(Protocol):
    """Who is told. Any thread may call."""

    def showing(self) -> AbstractContextManager[object]:
        """Around everything that is told."""

    def say(self, text: str) -> None:
        """Something was done."""

    def begin(self, title: str, rows: int) -> None:
        """A scan of that many rows begins."""

    def rows(self, count: int) -> None:
        """So many have been read."""

    def credential(self, name: str, expires_at: datetime | None) -> None:
        """The scan's credential is now this one. ``name`` is a fingerprint, nothing secret."""

    def refused(self, text: str) -> None:
        """The store refused a request for its keys."""

    def end(self, result: ScanResult) -> None:
        """The scan has ended."""

    def attempt(self, attempt: Attempt) -> None:
        """An attempt to reach outside was made."""

    def conclude(self, report: Report) -> None:
        """All is done."""


def seconds_left(expires_at: datetime | None) -> float:
    """Seconds until then, not below 0; 0 for an unknown end."""
    return 0.0 if expires_at is None else max(0.0, (expires_at - SystemClock().now()).total_seconds())


def ending(result: ScanResult, expected: int) -> str:
    """How a scan ended, in one line."""
    if result.error is not None:
        return f"FAILED at {result.rows:,} of {expected:,} rows; {result.refused_expired} requests refused; {result.error}"
    return (
        f"read {result.rows:,} of {expected:,} rows; credentials replaced {result.replaced} times between the first and "
        f"the last file; {result.refused_expired} requests refused"
    )


def conclusion(report: Report) -> list[tuple[bool, str]]:
    """The claims, and whether each holds."""
    return [
        (report.rows == report.rows_expected, f"{report.rows:,} of {report.rows_expected:,} rows arrived"),
        (report.refreshes >= LEAST_REFRESHES, f"credentials replaced {report.refreshes} times or more in mid-scan"),
        (report.refused_expired == 0, f"{report.refused_expired} requests refused for an expired key"),
        (
            0 < report.outside_attempts == report.outside_refused,
            f"{report.outside_refused} of {report.outside_attempts} attempts outside the grant refused by the store",
        ),
        (report.stock_failed, f"stock PyIceberg at the same pace {'failed' if report.stock_failed else 'did NOT fail'}"),
    ]


class PlainView:
    """Prints a line for each event."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected = 0
        self._told = 0
        self._replaced = 0
        self._current: tuple[str, datetime | None] | None = None

    def showing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def say(self, text: str) -> None:
        self._print(text)

    def begin(self, title: str, rows: int) -> None:
        with self._lock:
            self._expected, self._told, self._replaced, self._current = rows, 0, 0, None
        self._print(f"\n{title}: a scan of {rows:,} rows begins")

    def rows(self, count: int) -> None:
        with self._lock:
            step = count * _STEPS // self._expected
            due, self._told = step > self._told, max(step, self._told)
            current = self._current
        if due:
            key = f", credential {current[0]} has {seconds_left(current[1]):.1f} s left" if current else ""
            self._print(f"  {count:>7,} rows read{key}")

    def credential(self, name: str, expires_at: datetime | None) -> None:
        with self._lock:
            before, self._current = self._current, (name, expires_at)
            if before is not None and before[0] == name:
                return
            self._replaced += before is not None
            number = self._replaced
        life = f"expires in {seconds_left(expires_at):.1f} s"
        self._print(f"  refresh {number}: {before[0]} -> {name}, {life}" if before else f"  credential {name}, {life}")

    def refused(self, text: str) -> None:
        self._print(f"  the store REFUSED {text}")

    def end(self, result: ScanResult) -> None:
        self._print(f"  {ending(result, self._expected)}")

    def attempt(self, attempt: Attempt) -> None:
        self._print(f"  outside: {attempt.what}: {'refused' if attempt.refused else 'NOT REFUSED'} ({attempt.answer})")

    def conclude(self, report: Report) -> None:
        self._print("")
        for holds, text in conclusion(report):
            self._print(f"{'ok ' if holds else 'NOT'} {text}")
        self._print(f"{'ok' if report.ok else 'FAILED'} in {report.seconds:.0f} s")

    def _print(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)
