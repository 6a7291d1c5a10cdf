"""``credbroker sidecar``, ``exec`` and ``status`` as processes: started, reloaded, drained, and told what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

SECRET = "canary-trino-7d1f"
COMMAND = (sys.executable, "-c", "import sys; from credbroker.cli import main; sys.exit(main())")


def platform(folder: Path, **sidecar: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "environment": "test",
        "compute": {
            "trino": {"type": "trino", "credentials": {"mode": "static", "secret_ref": "trino-token"}},
            "spare": {"type": "trino", "credentials": {"mode": "static", "secret_ref": "trino-token"}},
        },
        "sidecar": {
            "directory": f"{folder}/run",
            "listen": "127.0.0.1:0",
            "bindings": {"trino": {"compute": "trino", "protocols": ["oauth2-token"]}},
            **sidecar,
        },
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="credbroker-test-") as name:
        yield Path(name)


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "platform.yaml"
    fresh = folder / "platform.yaml.new"
    fresh.write_text(yaml.safe_dump(config))
    fresh.replace(path)
    return path


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CREDBROKER_", "NOTIFY_"))}
    return {**kept, "TRINO_TOKEN": SECRET, **more}


class Running:
    """A ``credbroker sidecar`` that runs."""

    def __init__(self, config: Path, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "sidecar", "--config", str(config), "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.serving = json.loads(line)["serving"]
        self.directory = Path(self.serving["directory"])
        self.said: list[str] = []
        self._heard = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.said.append(line)
                self._heard.notify_all()

    def wait_until_said(self, text: str) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in line for line in self.said), timeout=20), self.said

    def token(self, name: str) -> str:
        return (self.directory / f"{name}.token").read_text()

    def ask(self, name: str = "trino") -> tuple[int, Any]:
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": self.token(name)}
        with direct() as session:
            reply = session.post(f"{self.serving['url']}/{name}/oauth2-token", data=form, timeout=20)
        return reply.status_code, reply.json()

    def page(self, path: str) -> tuple[int, Any]:
        bearer = {"Authorization": f"Bearer {self.token('status')}"}
        with direct() as session:
            reply = session.get(self.serving["url"] + path, headers=bearer, timeout=20)
        return reply.status_code, reply.json()

    def wait_until_ready(self) -> None:
        pause = threading.Event()
        for _ in range(1000):
            if self.page("/readyz")[0] == 200:
                return
            pause.wait(0.02)
        raise AssertionError(self.page("/status"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def direct() -> requests.Session:
    """Past a proxy that the environment may name."""
    session = requests.Session()
    session.trust_env = False
    return session


@contextlib.contextmanager
def running(config: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    one = Running(config, *arguments, **variables)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            assert stream is not None
            stream.close()


def test_it_serves_reloads_and_ends_with_its_files(folder: Path) -> None:
    config = written(folder, platform(folder))
    with running(config) as one:
        status, told = one.ask()
        assert (status, told["access_token"]) == (200, SECRET)
        assert sorted(path.name for path in one.directory.iterdir()) == [
            "credbroker.sock",
            "sidecar.json",
            "status.token",
            "trino.token",
        ]
        assert {path.stat().st_mode & 0o777 for path in one.directory.iterdir()} == {0o600}
        before = one.token("trino")

        more = platform(folder)
        more["sidecar"]["bindings"]["spare"] = {"compute": "spare", "protocols": ["oauth2-token"]}
        written(folder, more)
        one.wait_until_said("reloaded: spare, trino")  # by itself: the file has changed
        assert one.ask("spare")[0] == 200
        assert one.token("trino") == before

        broken = platform(folder)
        broken["sidecar"]["bindings"]["trino"]["compute"] = "gone"
        written(folder, broken)
        one.wait_until_said("not reloaded")
        assert one.ask("spare")[0] == 200
        assert "names no profile under compute" in str(one.page("/status")[1]["config"]["fault"])

        written(folder, platform(folder))
        one.process.send_signal(signal.SIGHUP)
        one.wait_until_said("reloaded: trino")
        assert not (one.directory / "spare.token").exists()
        assert one.page("/status")[1]["config"]["fault"] is None
        assert one.stop() == 0
        assert not one.directory.exists()


def test_a_template_is_watched_from_the_start(folder: Path) -> None:
    template = folder / "app.tmpl"
    template.write_text("v1 ${token}")
    config = platform(folder)
    config["sidecar"]["bindings"]["trino"]["files"] = [{"path": "app", "form": "template", "template": str(template)}]
    with running(written(folder, config)) as one:
        one.wait_until_ready()
        assert (one.directory / "files" / "app").read_text() == f"v1 {SECRET}"
        template.write_text("v2, changed: ${token}")
        one.wait_until_said("reloaded")
        assert (one.directory / "files" / "app").read_text() == f"v2, changed: {SECRET}"


def test_what_a_crash_has_left_is_removed_by_the_next_start_and_nothing_else(folder: Path) -> None:
    config = platform(folder)
    files = [{"path": "deep/token", "form": "token"}]
    config["sidecar"]["bindings"] = {"before": {"compute": "trino", "protocols": ["oauth2-token"], "files": files}}
    with running(written(folder, config)) as one:
        one.wait_until_ready()
        (one.directory / "own").write_text("not ours")
        one.process.kill()
        one.process.wait()
        assert (one.directory / "files" / "deep" / "token").read_text() == SECRET
        assert (one.directory / "before.token").exists()
    with running(written(folder, platform(folder))) as one:
        one.wait_until_ready()
        left = {str(path.relative_to(one.directory)) for path in one.directory.rglob("*") if not path.is_dir()}
        assert left == {"credbroker.sock", "own", "sidecar.json", "status.token", "trino.token"}
        assert one.stop() == 0
        assert [path.name for path in one.directory.iterdir()] == ["own"]


def test_asked_not_to_it_reloads_by_the_signal_alone(folder: Path) -> None:
    more = platform(folder)
    more["sidecar"]["bindings"]["spare"] = {"compute": "spare", "protocols": ["oauth2-token"]}
    with running(written(folder, platform(folder)), "--no-reload") as one:
        one.process.send_signal(signal.SIGHUP)
        one.wait_until_said("reloaded: trino")
        written(folder, more)
        # Looked at several times by then, if anybody looked.
        threading.Event().wait(2.5)
        assert one.ask("trino")[0] == 200
        assert not (one.directory / "spare.token").exists()
        one.process.send_signal(signal.SIGHUP)
        one.wait_until_said("reloaded: spare, trino")


def test_what_is_wrong_is_told_at_once_and_nothing_is_left(folder: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    bad = folder / "open"
    bad.mkdir()
    bad.chmod(0o755)
    config = platform(folder, listen=f"127.0.0.1:{taken.getsockname()[1]}", directory=str(bad))
    config["storage"] = {
        "lake": {
            "locations": ["s3://lake/sales/"],
            "credentials": {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/P"},
        }
    }
    config["sidecar"]["bindings"]["beyond"] = {
        "storage": "lake",
        "locations": ["s3://lake/"],
        "protocols": ["aws-container"],
    }
    path = written(folder, config)
    text = path.read_text().replace(
        "    trino:\n      compute: trino\n",
        "    trino:\n      compute: spare\n      protocols: []\n    trino:\n      compute: trino\n",
    )
    assert text.count("    trino:\n      compute") == 2
    path.write_text(text)
    ended = subprocess.run(
        [*COMMAND, "sidecar", "--config", str(path), "--json"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    taken.close()
    assert ended.returncode == 78
    for part in ("is in use", "world-readable", "s3://lake/", "stands at line"):
        assert part in ended.stderr, (part, ended.stderr)
    assert json.loads(ended.stdout.splitlines()[-1])["error"] == "ConfigurationError"
    assert list(bad.iterdir()) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:8642", "10.1.2.3:8642", "'[::]:8642'", "example.com:8642"])
def test_an_address_that_others_reach_is_refused(folder: Path, listen: str) -> None:
    path = written(folder, platform(folder))
    path.write_text(path.read_text().replace("127.0.0.1:0", listen))
    ended = subprocess.run(
        [*COMMAND, "sidecar", "--config", str(path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 78
    assert "loopback" in ended.stderr


def test_systemd_is_told_what_it_is_at(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(20)
        systemd.bind(f"{folder}/notify")
        config = written(folder, platform(folder))
        with running(config, NOTIFY_SOCKET=f"{folder}/notify") as one:
            assert b"READY=1" in systemd.recv(4096)
            one.process.send_signal(signal.SIGHUP)
            assert b"RELOADING=1" in systemd.recv(4096)
            assert b"READY=1" in systemd.recv(4096)
            assert one.stop() == 0
            assert b"STOPPING=1" in systemd.recv(4096)


def test_an_answer_under_way_is_finished_when_it_ends(folder: Path) -> None:
    config = written(folder, platform(folder))
    with running(config) as one, socket.create_connection(("127.0.0.1", int(one.serving["url"].rpartition(":")[2]))) as slow:
        body = f"grant_type=client_credentials&client_secret={one.token('trino')}".encode()
        head = f"POST /trino/oauth2-token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        slow.settimeout(20)
        slow.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode() + body[:-1])
        # Answered: so the half request before it has been read.
        assert one.ask()[0] == 200
        one.process.send_signal(signal.SIGTERM)
        wait_until_closed(one)
        slow.sendall(body[-1:])
        answer = b""
        while chunk := slow.recv(65536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200")
        assert SECRET.encode() in answer
        assert one.process.wait(30) == 0


def wait_until_closed(one: Running) -> None:
    """Until no new connection is taken: the end has begun."""
    port = int(one.serving["url"].rpartition(":")[2])
    pause = threading.Event()
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        pause.wait(0.02)
    raise AssertionError("it goes on taking connections")


def exec_(config: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "exec", "--config", str(config), "--", *command],
        capture_output=True,
        text=True,
        env=environment(**variables),
        timeout=60,
        check=False,
    )


CHILD = """
import json, os, urllib.request
names = {name: value for name, value in os.environ.items()}
directory = os.environ["CREDBROKER_SIDECAR"]
described = json.load(open(directory + "/sidecar.json"))
token = open(directory + "/trino.token").read()
data = f"grant_type=client_credentials&client_secret={token}".encode()
answer = json.load(urllib.request.urlopen(described["url"] + "/trino/oauth2-token", data=data))
print(json.dumps({"token": answer["access_token"], "environment": names}))
"""


def test_a_command_finds_its_sidecar_and_no_other_identity(folder: Path) -> None:
    config = written(folder, platform(folder))
    ended = exec_(
        config,
        sys.executable,
        "-c",
        CHILD,
        AWS_ACCESS_KEY_ID="AKIAOWN",
        AWS_PROFILE="own",
        GOOGLE_APPLICATION_CREDENTIALS="/own.json",
        no_proxy="127.0.0.1",
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["token"] == SECRET
    # Nor the secret that the broker issues from: the command is not to hold it.
    assert not {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "TRINO_TOKEN"} & set(told["environment"])
    assert told["environment"]["GOOGLE_APPLICATION_CREDENTIALS"] == "/dev/null/none"
    assert told["environment"]["AWS_EC2_METADATA_DISABLED"] == "true"
    assert "169.254" not in json.dumps(told["environment"])
    assert not Path(told["environment"]["CREDBROKER_SIDECAR"]).exists()


def test_what_a_killed_one_has_left_is_swept_up_by_the_next(folder: Path) -> None:
    config = written(folder, platform(folder))
    script = "import os; print(os.environ['CREDBROKER_SIDECAR'], flush=True); import sys; sys.stdin.read()"
    process = subprocess.Popen(
        [*COMMAND, "exec", "--config", str(config), "--", sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        left = Path(process.stdout.readline().strip())
        process.kill()
        process.wait()
        assert (left / "trino.token").exists()
        assert exec_(config, "true").returncode == 0
        assert not left.exists()


def test_the_commands_end_is_its_end(folder: Path) -> None:
    config = written(folder, platform(folder))
    assert exec_(config, sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert exec_(config, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)").returncode == 137
    assert exec_(config, "/no/such/command").returncode == 127
    assert exec_(config, "/dev/null").returncode == 126


def test_signals_are_passed_on_to_the_command(folder: Path) -> None:
    config = written(folder, platform(folder))
    script = (
        "import signal, sys\n"
        "def ended(*_): print('told', flush=True); sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, ended)\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "exec", "--config", str(config), "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        assert process.wait(30) == 5


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_while_it_waits_for_the_first_value(folder: Path, ending: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an issuer that takes the connection and never answers
        config = platform(folder)
        config["compute"]["trino"]["credentials"] = {
            "mode": "oauth2",
            "token_url": f"http://127.0.0.1:{silent.getsockname()[1]}/token",
            "client_id": "svc",
            "client_secret": {"secret_ref": "trino-token"},
        }
        process = subprocess.Popen(
            [*COMMAND, "exec", "--config", str(written(folder, config)), "--", sys.executable, "-c", "print('started')"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stdout is not None
        with process.stdout:
            silent.settimeout(20)
            silent.accept()[0].close()  # it waits now
            process.send_signal(ending)
            assert process.wait(20) == 128 + ending
            assert process.stdout.read() == ""


def test_a_command_does_not_start_without_its_credentials(folder: Path) -> None:
    config = platform(folder)
    config["compute"]["trino"]["credentials"]["secret_ref"] = "absent-token"
    ended = exec_(written(folder, config), sys.executable, "-c", "print('started')")
    assert ended.returncode == 78
    assert "started" not in ended.stdout
    assert "ABSENT_TOKEN" in ended.stderr
    assert (
        "no such binding"
        in subprocess.run(
            [*COMMAND, "exec", "--config", str(folder / "platform.yaml"), "--binding", "other", "--", "true"],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        ).stderr
    )


def test_the_status_is_told_to_people_and_to_programs(folder: Path) -> None:
    config = written(folder, platform(folder))
    with running(config) as one:
        assert one.ask()[0] == 200
        told = subprocess.run(
            [*COMMAND, "status", "--directory", str(one.directory), "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout.splitlines()[-1])["bindings"][0]["name"] == "trino"
        lines = subprocess.run(
            [*COMMAND, "status", "--directory", str(one.directory)], capture_output=True, text=True, timeout=60, check=False
        )
        assert "trino" in lines.stdout
        assert SECRET not in told.stdout + lines.stdout
        assert one.token("status") not in told.stdout + lines.stdout


def test_nothing_of_it_holds_a_secret_but_the_answers(folder: Path) -> None:
    config = written(folder, platform(folder))
    with running(config) as one:
        assert one.ask()[0] == 200
        tokens = [one.token(name) for name in ("trino", "status")]
        shown = Path(f"/proc/{one.process.pid}/cmdline").read_text()
        shown += json.dumps(one.serving) + (one.directory / "sidecar.json").read_text()
        shown += json.dumps(one.page("/status")[1])
        assert one.stop() == 0
        shown += "".join(one.said)
        for secret in (SECRET, *tokens):
            assert secret not in shown
