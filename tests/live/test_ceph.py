"""Ceph as the tests run it: it ends with them, however they end, and nobody else can reach it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.servers import ceph as ceph_module
from tests.servers.ceph import Ceph

from credbroker.cli.demo.ports import reserved_ports

pytestmark = pytest.mark.usefixtures("ceph")  # which says what to do where it is not installed


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


def test_a_process_that_is_killed_leaves_no_server_and_no_file_behind() -> None:
    script = (
        "import os, signal\n"
        "from tests.servers.ceph import Ceph\n"
        "with Ceph() as store:\n"
        "    print(*store.pids, store._watchdog.pid, store._folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=root, timeout=90
    )
    *pids, folder = killed.stdout.split()
    assert len(pids) == 4
    assert all(ended(int(pid)) for pid in pids)
    assert not Path(folder).exists()


def test_ports_that_were_taken_meanwhile_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = []

    @contextmanager
    def drawn(count: int) -> Iterator[tuple[int, ...]]:
        with reserved_ports(count) as ports:
            draws.append(ports)
            yield ports if len(draws) > 1 else (taken.getsockname()[1], *ports[1:])

    monkeypatch.setattr(ceph_module, "reserved_ports", drawn)
    with socket.create_server(("127.0.0.1", 0)) as taken, Ceph() as store:
        pids, folder = store.pids, store._folder
        assert len(draws) == 2
    assert folder is not None
    assert not folder.exists()
    assert all(ended(pid) for pid in pids)


def test_nothing_listens_beyond_loopback_and_no_key_is_on_a_command_line(ceph: Ceph) -> None:
    own, shown = set(), b""
    for pid in ceph.pids:
        own |= {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        shown += Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    # proc(5): local address, state (0A: listening) and inode of each socket; 0100007F is 127.0.0.1.
    addresses = {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
    assert addresses == {"0100007F"}
    assert ceph.secret_key.encode() not in shown
