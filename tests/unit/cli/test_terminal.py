from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from credbroker.cli.terminal import console, print_fields, shown

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert console() is None
    print_fields(None, [("profile", "lake"), ("a longer one", "s3://lake/")])
    assert capsys.readouterr().out == "profile       lake\na longer one  s3://lake/\n"


def test_a_terminal_gets_rich_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert isinstance(console(), Console)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert console() is None


def test_nothing_that_a_terminal_would_act_on_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is read backwards, or moves the cursor, would show another location than the one that is granted."""
    told = shown("s3://lake/\u202egnp.exe\x1b[2K/grün [bold]")
    assert told == "s3://lake/\\u202egnp.exe\\x1b[2K/grün [bold]"
    out = io.StringIO()
    print_fields(Console(file=out, width=100), [("location", "s3://lake/\u202e/[red]")])
    assert out.getvalue().split() == ["location", "s3://lake/\\u202e/[red]"]
    print_fields(None, [("location", "\u202e")])
    assert capsys.readouterr().out == "location  \\u202e\n"
