from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace

import pytest

from credbroker import cli
from credbroker.cli import ExitCode, main
from credbroker.cli.command import Command, Outcome
from credbroker.errors import AccessDenied, ConfigurationError, CredbrokerError, IssuerUnavailable


def add_number(parser: ArgumentParser) -> None:
    parser.add_argument("--number", type=int, default=0)


def command(run: object) -> list[Command]:
    return [Command("try", "Try it.", add_number, run)]  # type: ignore[arg-type]


def raising(error: BaseException) -> list[Command]:
    def run(arguments: Namespace) -> Outcome:
        raise error

    return command(run)


def test_a_command_gets_its_arguments_and_gives_the_exit_code() -> None:
    seen = []

    def run(arguments: Namespace) -> Outcome:
        seen.append(arguments.number)
        return Outcome(ExitCode.FINDING)

    assert main(["try", "--number", "7"], commands=command(run)) == 1
    assert seen == [7]


def test_json_is_one_object_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    def run(arguments: Namespace) -> Outcome:
        print("for people")  # noqa: T201 - as a command does
        return Outcome(report={"rows": 3, "ok": True})

    assert main(["try", "--json"], commands=command(run)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "for people"
    assert json.loads(lines[-1]) == {"rows": 3, "ok": True}


def test_without_json_no_object_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try"], commands=command(lambda arguments: Outcome(report={"rows": 3}))) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(IssuerUnavailable("no answer"), 69), (AccessDenied("not yours"), 77), (ConfigurationError("mend it"), 78)],
)
def test_an_error_is_one_text_on_standard_error(
    error: CredbrokerError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["try"], commands=raising(error)) == code
    captured = capsys.readouterr()
    assert captured.err == f"credbroker: {error}\n"
    assert captured.out == ""


def test_an_error_keeps_its_lines_and_is_not_read_backwards(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try"], commands=raising(ConfigurationError("two faults:\n  a\u202eb"))) == 78
    assert capsys.readouterr().err == "credbroker: two faults:\n  a\\u202eb\n"


def test_an_error_is_an_object_too_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "--json"], commands=raising(AccessDenied("not yours", profile="lake"))) == 77
    assert json.loads(capsys.readouterr().out) == {"ok": False, "error": "AccessDenied", "message": "lake: not yours"}


def test_an_unexpected_error_tells_class_and_place_and_not_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try"], commands=raising(ValueError("body with a hunter2"))) == 1
    told = capsys.readouterr().err
    assert told.startswith("credbroker: unexpected ValueError at cli/__init__.py:")
    assert "hunter2" not in told
    assert "Traceback" not in told


def test_an_interrupt_is_130_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try"], commands=raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "credbroker: interrupted\n"


@pytest.mark.parametrize("arguments", [[], ["nothing-of-the-kind"], ["try", "--number", "x"], ["try", "--num", "1"]])
def test_a_wrong_command_line_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, commands=command(lambda _: Outcome())) == 2
    assert "usage: credbroker" in capsys.readouterr().err


def test_no_command_at_all_is_shown_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(f"\n    {name}" in captured.err for name in cli.NAMES)


def test_version_and_help_are_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("credbroker ")
    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    for each in cli.loaded():
        assert main([each.name, "--help"]) == 0
        assert each.summary.split()[0] in capsys.readouterr().out


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    script = (
        "import sys\n"
        "from credbroker.cli import main\n"
        "from credbroker.cli.command import Command, Outcome\n"
        "def run(arguments):\n"
        "    sys.stdin.readline()\n"
        "    print('x' * 100000)\n"
        "    return Outcome()\n"
        "sys.exit(main(['try'], commands=[Command('try', '', lambda parser: None, run)]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdin is not None
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_every_command_has_a_name_of_its_own() -> None:
    assert tuple(each.name for each in cli.loaded()) == cli.NAMES
    assert len(set(cli.NAMES)) == len(cli.NAMES)


def test_the_command_that_is_named_is_the_only_one_that_is_loaded() -> None:
    script = (
        "import sys, credbroker.cli as cli; cli.main(['scan', '--help'])\n"
        "loaded = {f'credbroker.cli.{name}' for name in cli.NAMES} & set(sys.modules)\n"
        "sys.exit(0 if loaded == {'credbroker.cli.scan'} else ' '.join(loaded))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_frame_loads_no_sdk() -> None:
    script = (
        "import sys, credbroker.cli as cli; cli.main(['--version'])\n"
        "loaded = {'boto3', 'botocore', 'pyarrow', 'pyiceberg', 'rich', 'pydantic', 'requests'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(loaded)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
