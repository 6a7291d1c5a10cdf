from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from credbroker.cli.demo.live import LiveView
from credbroker.cli.demo.report import Report, ScanResult
from credbroker.cli.demo.view import PlainView, View, ending, seconds_left
from credbroker.cli.fence import Attempt, Outcome

if TYPE_CHECKING:
    import pytest

REPORT = Report(200, 200, 4, 0, 14, 14, stock_failed=True, seconds=12.3, ok=True)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def show(view: View) -> None:
    with view.showing():
        view.say("the store [runs]")
        view.begin("a way", 100)
        view.credential("aaaaaa", in_an_hour())
        view.rows(50)
        view.credential("bbbbbb", in_an_hour())
        view.credential("bbbbbb", in_an_hour())
        view.refused("GET one.parquet: InvalidAccessKeyId")
        view.rows(100)
        view.end(ScanResult(100, 1, 1))
        view.attempt(Attempt("read [a file]", Outcome.REFUSED, "AccessDenied"))
        view.attempt(Attempt("list it", Outcome.DONE, "allowed"))
        view.conclude(REPORT)


def plain(capsys: pytest.CaptureFixture[str]) -> str:
    show(PlainView())
    return capsys.readouterr().out


def live(*, terminal: bool = True) -> str:
    out = io.StringIO()
    show(LiveView(Console(file=out, force_terminal=terminal, width=120, color_system=None)))
    return out.getvalue()


def test_lines_tell_rows_credentials_refreshes_and_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    told = plain(capsys)
    for part in (
        "the store [runs]",
        "50 rows read, credential aaaaaa has 3",
        "refresh 1: aaaaaa -> bbbbbb, expires in 3",
        "the store REFUSED GET one.parquet: InvalidAccessKeyId",
        "credentials replaced 1 times",
        "outside: read [a file]: refused (AccessDenied)",
        "outside: list it: NOT REFUSED (allowed)",
        "ok in 12 s",
    ):
        assert part in told


def test_the_same_credential_told_twice_is_no_refresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(capsys).count("refresh ") == 1
    assert live().count("refresh ") == 1


def test_piped_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in plain(capsys)


def test_a_terminal_is_told_the_same() -> None:
    told = live()
    for part in (
        "the store [runs]",
        "aaaaaa -> bbbbbb",
        "the store refused GET",
        "read [a file]",
        "NOT REFUSED",
        "ok in 12 s",
    ):
        assert part in told


def test_a_terminal_shows_rows_and_remaining_life_while_it_scans() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=120, color_system=None))
    view.begin("a way", 100)
    view.credential("aaaaaa", in_an_hour())
    view.rows(25)
    with view.showing():
        pass
    frame = out.getvalue()
    assert "25 of 100" in frame
    assert re.search(r"aaaaaa  3[0-9.]+ s left", frame)
    assert "replaced 0 times, refused 0" in frame


def test_before_there_is_a_credential_the_terminal_says_so() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=120, color_system=None))
    view.begin("a way", 100)
    with view.showing():
        pass
    assert "none yet" in out.getvalue()


def test_a_scan_that_failed_says_where_and_why() -> None:
    told = ending(ScanResult(40, 0, 2, "OSError: refused"), 100)
    assert told == "FAILED at 40 of 100 rows; 2 requests refused; OSError: refused"


def test_an_unknown_or_past_end_leaves_no_life() -> None:
    assert seconds_left(None) == 0.0
    assert seconds_left(datetime(2020, 1, 1, tzinfo=UTC)) == 0.0
