from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.servers.stub_sidecar import StubSidecar, status_of, told

from credbroker.cli import main
from credbroker.cli.status import duration

FAILED = told(
    "orders",
    profile="production",
    state="absent",
    life=None,
    left=None,
    expires_at=None,
    issues_last_hour=0,
    answers=0,
    failures=3,
    error="IssuerUnavailable: sts.example did not answer",
    error_at="2026-11-23T05:59:00Z",
)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubSidecar]:
    with StubSidecar(tmp_path / "credbroker") as running:
        yield running


def run(stub: StubSidecar, *options: str) -> int:
    return main(["status", "--directory", str(stub.directory), *options])


def test_a_pipe_gets_a_line_a_binding(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stub) == 0
    assert capsys.readouterr().out == "lake-read: fresh, 42 min left, 1 issued in the last hour, 1234 answers\n"


def test_one_that_is_not_ready_is_1_with_its_error(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["/status"] = (200, status_of(told("lake-read"), FAILED))
    assert run(stub) == 1
    assert capsys.readouterr().out.splitlines()[1] == (
        "orders: absent, 0 issued in the last hour, 0 answers, IssuerUnavailable: sts.example did not answer (3 in a row)"
    )


def test_what_bears_on_all_comes_first(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["/status"] = (200, status_of(told("lake-read"), draining=True, fault="2 faults:\n  a.yaml:7: x"))
    assert run(stub) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "the sidecar is about to end",
        "the platform file was changed, and refused: 2 faults:",
        "  a.yaml:7: x",
    ]


def test_json_is_what_was_told_and_whether_all_is_well(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stub, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {**status_of(told("lake-read")), "ok": True}
    stub.answers["/status"] = (200, status_of(FAILED))
    assert run(stub, "--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_without_a_socket_it_is_the_status_token_s(tmp_path: Path) -> None:
    with StubSidecar(tmp_path / "credbroker", unix=False) as stub:
        assert run(stub) == 0
        (stub.directory / "status.token").write_text(stub.tokens["lake-read"])
        assert run(stub) == 77
        (stub.directory / "status.token").unlink()
        assert run(stub) == 78


def test_no_sidecar_is_78_and_a_dead_one_69(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--directory", str(tmp_path / "credbroker")]) == 78
    with StubSidecar(tmp_path / "credbroker") as stub:
        pass
    assert run(stub) == 69
    assert "is it still running?" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [((200, b"{}"), 69), ((500, {"code": "InternalError"}), 69), ((404, {}), 78)])
def test_what_is_no_status_shows_nothing(
    stub: StubSidecar, capsys: pytest.CaptureFixture[str], answer: tuple[int, object], code: int
) -> None:
    stub.answers["/status"] = answer
    assert run(stub) == code
    assert capsys.readouterr().out == ""


def test_what_a_terminal_would_act_on_is_escaped(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "x\x1b[2J\u202e"
    stub.answers["/status"] = (
        200,
        status_of(told(nasty, profile=nasty, state=nasty, error=nasty, error_at=nasty, expires_at=nasty), fault=nasty),
    )
    assert run(stub) == 1
    assert "x\\x1b[2J\\u202e" in capsys.readouterr().out
    screen = in_terminal(stub, 120)
    assert not {"\x1b", "\u202e"} & set(screen)
    assert screen.count("x\\x1b[2J\\u202e") >= 5


# -------------------------------------------------------------------------------------------------------------- a terminal


def in_terminal(stub: StubSidecar, width: int, **options: Any) -> str:
    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        made = Console(file=screen, width=width, force_terminal=bool(options), **options)
        patch.setattr("credbroker.cli.status.console", lambda: made)
        run(stub)
    return screen.getvalue()


def test_a_terminal_gets_a_table_and_the_errors_below_it(stub: StubSidecar) -> None:
    stub.answers["/status"] = (200, status_of(told("lake-read"), told("static", left=None, life=None), FAILED))
    header, lake, static, orders, error = (re.sub(" +", " ", line.strip()) for line in in_terminal(stub, 120).splitlines())
    assert header == "binding profile state left issues/h answers"
    assert re.fullmatch(r"lake-read lake fresh [━╸]+ 42 min 1 1,234", lake)
    assert static == "static lake fresh no end 1 1,234"
    assert orders == "orders production absent - 0 0"
    assert error == "orders: IssuerUnavailable: sts.example did not answer (3 in a row, 2026-11-23T05:59:00Z)"


@pytest.mark.parametrize(("left", "full"), [(3585.0, 16), (1792.5, 8), (0.0, 0)])
def test_the_bar_is_as_long_as_the_life_that_is_left(stub: StubSidecar, left: float, full: int) -> None:
    stub.answers["/status"] = (200, status_of(told("lake-read", left=left)))
    green = re.findall(r"\x1b\[32m([━╸]+)", in_terminal(stub, 100, color_system="standard"))
    assert len("".join(green)) == full


@pytest.mark.parametrize("width", [30, 44, 59, 60, 79, 80, 200])
def test_it_fits_every_terminal_and_no_name_is_cut(stub: StubSidecar, width: int) -> None:
    name = "orders-of-the-emea-region-with-a-name-that-is-long"
    stub.answers["/status"] = (200, status_of(told(name), told("lake-read", answers=123456789)))
    lines = in_terminal(stub, width).splitlines()
    assert max(map(len, lines)) <= width
    column = lines[0].index("profile" if width >= 80 else "state")
    assert name in "".join(line[:column].strip() for line in lines)
    assert "fresh" in lines[1]
    assert "42 min" in lines[1]


def test_the_page_about_commands_shows_what_is_printed(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text().partition("## `status`")[2]
    _, lines, _, table, *_ = page.split("```")
    late = "IssuerUnavailable: sts.eu-west-1.amazonaws.com did not answer completely within 10 s"
    refused = "IssueDenied: the client was refused (invalid_client)"
    orders = told(
        "orders",
        profile="production",
        state="stale",
        left=190.0,
        answers=87,
        failures=4,
        error=late,
        error_at="2026-11-23T05:59:00Z",
    )
    warehouse = {**FAILED, "name": "warehouse", "profile": "snowflake", "error": refused, "failures": 17}
    warehouse["error_at"] = "2026-11-23T05:59:02Z"
    stub.answers["/status"] = (200, status_of(told("lake-read"), orders, warehouse))
    assert run(stub) == 1
    assert lines == f"\n$ credbroker status\n{capsys.readouterr().out}"
    screen = in_terminal(stub, 140, color_system="standard")
    shown = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", screen).splitlines()]
    assert shown == [line.split() for line in table.strip("\n").splitlines()]  # releases of rich differ by a blank


# ------------------------------------------------------------------------------------------------------------------- watch


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def test_watch_prints_a_line_a_change_until_it_is_interrupted(stub: StubSidecar) -> None:
    # As a shell starts it: with an interrupt that counts, whatever the tests' own parent has set.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from credbroker.cli import main; sys.exit(main())"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, "status", "--watch", "--directory", str(stub.directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        ended(process),
    ):
        assert process.stdout is not None

        def line() -> str:
            at, _, rest = process.stdout.readline().rstrip("\n").partition(" ")  # type: ignore[union-attr]
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)
            return rest

        assert line() == "lake-read: fresh until 2026-11-23T07:00:00Z"
        stub.answers["/status"] = (200, status_of(told("lake-read", answers=9999), FAILED))
        assert line() == "orders: absent, IssuerUnavailable: sts.example did not answer"
        stub.answers["/status"] = (503, {})
        assert line() == "the sidecar cannot give its status now (HTTP 503)"
        stub.answers["/status"] = (200, status_of(told("lake-read", expires_at="2026-11-23T08:00:00Z")))
        assert line() == "lake-read: fresh until 2026-11-23T08:00:00Z"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_watch_redraws_a_terminal_and_keeps_what_was_told_last(stub: StubSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("credbroker.cli.status.console", lambda: Console(file=screen, width=100, force_terminal=True))
    waits = iter(["silent", "again", "stop"])

    class Pause:
        def wait(self, seconds: float) -> None:
            assert seconds == 1.0
            match next(waits):
                case "silent":
                    stub.answers["/status"] = (503, {})
                case "again":
                    assert "the sidecar cannot give its status now" in screen.getvalue()
                    stub.answers["/status"] = (200, status_of(told("another")))
                case _:
                    raise KeyboardInterrupt

    monkeypatch.setattr("credbroker.cli.status.Event", Pause)
    assert run(stub, "--watch") == 0
    assert "lake-read" in screen.getvalue()
    last = screen.getvalue().rpartition("binding")[2]
    assert "another" in last
    assert "lake-read" not in last


def test_watch_without_a_sidecar_does_not_begin(tmp_path: Path) -> None:
    assert main(["status", "--watch", "--directory", str(tmp_path)]) == 78


def test_watch_and_json_exclude_each_other(stub: StubSidecar, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stub, "--watch", "--json") == 78
    assert "give one of the two" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (3900, "1 h 5 min"), (86400, "24 h")],
)
def test_a_duration_is_rounded_down(seconds: float, text: str) -> None:
    assert duration(seconds) == text
