"""How a program is told of a change, whom a pid file cannot make us signal, and what a command is not given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.system.another_user import UID, another_user

from credbroker.system.tell import run, send

ROOT = os.geteuid() == 0


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "app.pid"


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[str]]:
    """A process that says which signal it got."""
    code = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1])
print("ready", flush=True)
print(signal.Signals(signal.sigwait([signal.SIGHUP, signal.SIGUSR1])).name, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["HUP", "USR1"])
def test_the_named_process_gets_the_signal(name: str, pid_file: Path, waiting: subprocess.Popen[str]) -> None:
    pid_file.write_text(f"{waiting.pid}\n")
    assert send(name, str(pid_file)) is None
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == f"SIG{name}\n"


@pytest.mark.parametrize("text", ["", "0", "-1", "1", "x", "12 34", "-5", "9" * 11, "canary", "+7", "0x10"])
def test_what_is_no_process_is_signalled_by_nobody(text: str, pid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail("something was signalled"))
    pid_file.write_text(text)
    assert send("HUP", str(pid_file)) == f"{pid_file} holds no process's number"


def test_a_process_that_is_gone_is_told_so(pid_file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    pid_file.write_text(str(process.pid))
    assert send("HUP", str(pid_file)) == f"{pid_file} names a process that is not there"


def test_a_file_that_anybody_writes_names_nobody(pid_file: Path, waiting: subprocess.Popen[str]) -> None:
    pid_file.write_text(str(waiting.pid))
    pid_file.chmod(0o666)
    assert "is world-writable, so that anybody names whom we signal" in (send("HUP", str(pid_file)) or "")
    assert waiting.poll() is None


def test_what_is_no_file_is_told_so_and_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert send("HUP", str(tmp_path / "fifo")) == f"{tmp_path}/fifo is no regular file"
    assert send("HUP", str(tmp_path)) == f"{tmp_path} is no regular file"
    assert send("HUP", str(tmp_path / "absent")) == f"{tmp_path}/absent: no such file or directory"
    assert send("HUP", "/\0") == "/\0: a NUL stands in it"


def test_another_users_file_names_that_users_processes_alone(
    pid_file: Path, waiting: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file.write_text(str(waiting.pid))
    if ROOT:
        os.chown(pid_file, UID, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(os, "stat", lambda path: os.lstat("/"))
    text = f"{pid_file} belongs to uid {UID}, and the process {waiting.pid} that it names does not"
    assert send("HUP", str(pid_file)) == text
    assert waiting.poll() is None


def test_another_users_own_process_is_signalled_by_root_and_by_nobody_else(pid_file: Path) -> None:
    with another_user("print('ready', flush=True); sys.stdin.readline()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        pid_file.write_text(str(process.pid))
        os.chown(pid_file, UID, -1)
        assert send("TERM", str(pid_file)) is None
        assert process.wait(10) == -signal.SIGTERM


def test_what_the_kernel_refuses_is_told(pid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    pid_file.write_text("2")
    assert send("HUP", str(pid_file)) == f"{pid_file} names a process of another user"


# ------------------------------------------------------------------------------------------------------------ commands


def test_a_command_is_given_nothing_but_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("TZ", "UTC")
    code = """
import json, os, sys
given = [dict(os.environ), sys.argv[2:], os.getcwd(), os.read(0, 1).decode(), os.getsid(0) == os.getpid()]
open(sys.argv[1], "w").write(json.dumps(given))
print("unseen"); print("unseen", file=sys.stderr)
"""
    assert run((sys.executable, "-c", code, str(tmp_path / "given"), "$(id)", "a b")) is None
    environment, arguments, folder, stdin, own_session = json.loads((tmp_path / "given").read_text())
    assert "canary" not in str(environment)
    assert environment["TZ"] == "UTC"
    assert set(environment) <= {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "XDG_RUNTIME_DIR"}
    assert (arguments, folder, stdin, own_session) == (["$(id)", "a b"], "/", "", True)


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("/bin/sh", "-c", "exit 3"), "/bin/sh ended with 3"),
        (("/bin/sh", "-c", "kill -TERM $$"), "/bin/sh was ended by the signal 15"),
        (("/nowhere/reload",), "/nowhere/reload cannot be run: no such file or directory"),
        (("/etc/passwd",), "/etc/passwd cannot be run: permission denied"),
        (("/bin/sh", "\0"), "/bin/sh cannot be run: a NUL stands in it"),
    ],
)
def test_what_goes_wrong_is_told_and_not_raised(command: tuple[str, ...], fault: str) -> None:
    assert run(command) == fault


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    path = tmp_path / "held"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    command = ("/bin/sh", "-c", f"exec 3>{path}; sleep 60 & sleep 60")
    assert run(command, patience=0.3) == "/bin/sh did not end within 0.3 s and was killed"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the last that held the other end is gone
    os.close(reader)
