"""Ceph's S3 and STS on loopback, for as long as a block lasts: one monitor, one store in memory, one RADOS gateway.

The second, independent reader of our policies beside SeaweedFS. The programs come from the distribution (``.ci/servers``
installs them). Everything is kept in a temporary folder and in memory, and nothing asks for a key but the gateway itself.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from credbroker.cli.demo.ports import reserved_ports

INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"

_PROGRAMS = ("ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "radosgw", "radosgw-admin")
_USER = "broker"
# AWS IAM user guide, "AWS global condition context keys": aws:TokenIssueTime is there with temporary keys only.
_NO_SESSION = {"Null": {"aws:TokenIssueTime": "true"}}
_STARTS = 4
_PATIENCE = 60.0

# Ends the servers and removes their files when this process is gone, however it went: it alone can write to the pipe.
_WATCHDOG = 'read -r _; folder=$1; shift; kill -KILL "$@" 2>/dev/null; rm -rf -- "$folder"'

# Up in one second where a plain set-up takes 16: no manager, which only gathers statistics; no client in Python; no wait of
# 1 s (paxos) at each change of the cluster's map, nor of 5 s (objecter) to ask again what was asked before the store was up.
# No admin sockets: the name of a temporary folder is soon too long for one. The gateway would insist on encryption to the
# monitor, which there is not without keys between the parts.
_SETTINGS = """
[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
admin socket =
run dir = {folder}
log file = {folder}/$name.log
pid file = {folder}/$name.pid
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.01
paxos min wait = 0.01
mon allow pool size one = true
ms bind retry count = 1
ms bind retry delay = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
objecter tick interval = 0.1
osd objectstore = memstore
memstore device bytes = 1073741824

[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{s3} tcp_nodelay=1
rgw enable apis = s3,sts,iam
rgw s3 auth use sts = true
rgw sts key = {sts_key}
"""


def installed() -> bool:
    """Whether Ceph's programs are there to be run."""
    return all(shutil.which(name) for name in _PROGRAMS)


class Ceph:
    """A context manager: the servers run inside the block.

    Entering raises ``RuntimeError`` with the end of the logs where the servers do not start.
    """

    role_arn = "arn:aws:iam:::role/Pipe"
    """A role that may do everything with S3, for the user's own keys alone."""
    session_role_arn = "arn:aws:iam:::role/Again"
    """The same, with the trust policy that everybody writes first. Ceph takes a session of the user for the user himself."""
    closed_role_arn = "arn:aws:iam:::role/Closed"
    """The same, for another user."""

    def __init__(self) -> None:
        self.access_key = self.secret_key = ""
        self._folder: Path | None = None
        self._ports: dict[str, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def s3_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def sts_endpoint(self) -> str:
        """STS answers at the S3 endpoint."""
        return self.s3_endpoint

    @property
    def pids(self) -> list[int]:
        """The servers' process ids, none outside the block."""
        return [process.pid for process in self._processes]

    def __enter__(self) -> Self:
        for attempt in range(1, _STARTS + 1):
            try:
                self._start()
            except _Ended as ended:
                log = self._logs()
                self._stop()
                # Somebody may take a port between our drawing it and a server's binding it.
                if attempt == _STARTS or "address already in use" not in log.lower():
                    raise RuntimeError(f"Ceph did not start: {ended}; the end of its logs:\n{log}") from None
            except BaseException:
                self._stop()
                raise
            else:
                return self
        raise AssertionError  # the loop returns or raises

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _start(self) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="credbroker-ceph-"))
        for name in ("mon", "osd"):
            (folder / name).mkdir()
        names = ("mon", "mon_v1", "s3")
        with reserved_ports(len(names)) as ports:
            self._ports = dict(zip(names, ports, strict=True))
        fsid = str(uuid.uuid4())
        settings = _SETTINGS.format(folder=folder, fsid=fsid, sts_key=secrets.token_hex(8), **self._ports)
        (folder / "ceph.conf").write_text(settings)

        # A map that has the one store already: else it would have to be announced by a client, which is slow Python.
        self._run("osdmaptool", "--createsimple", "1", "osdmap")
        addresses = f"[v2:127.0.0.1:{self._ports['mon']},v1:127.0.0.1:{self._ports['mon_v1']}]"
        self._run("monmaptool", "--create", "--addv", "a", addresses, "--fsid", fsid, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--osdmap", "osdmap")
        self._run("ceph-osd", "--mkfs", "--no-mon-config", "-i", "0", "--osd-uuid", str(uuid.uuid4()))
        self._serve("ceph-mon", "-f", "-i", "a")
        self._serve("ceph-osd", "-f", "-i", "0")
        # It waits for both, and makes the pools on its way. The keys are drawn by Ceph: none stands on a command line.
        user = self._admin("user", "create", "--uid", _USER, "--display-name", _USER)
        self.access_key, self.secret_key = (str(user["keys"][0][name]) for name in ("access_key", "secret_key"))
        self._make_role(self.role_arn, _USER, Condition=_NO_SESSION)
        self._make_role(self.session_role_arn, _USER)
        self._make_role(self.closed_role_arn, "somebody-else")
        gateway = self._serve("radosgw", "-f", "-n", "client.rgw.a")
        self._await_answer(gateway)

    def _make_role(self, arn: str, trusted: str, **condition: object) -> None:
        name = arn.rpartition("/")[2]
        trust = _policy("sts:AssumeRole", Principal={"AWS": [f"arn:aws:iam:::user/{trusted}"]}, **condition)
        self._admin("role", "create", "--role-name", name, "--assume-role-policy-doc", trust)
        rights = _policy("s3:*", Resource="arn:aws:s3:::*")
        self._admin("role-policy", "put", "--role-name", name, "--policy-name", "AllS3", "--policy-doc", rights)

    def _admin(self, *arguments: str) -> Any:
        answer = self._run("radosgw-admin", "-n", "client.rgw.a", *arguments)
        return json.loads(answer) if answer.startswith("{") else None

    def _run(self, *command: str) -> str:
        assert self._folder is not None
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env=self._environment(),
        )
        with process:
            try:
                out, errors = self._output(process)
            finally:
                process.kill()  # nothing, if it has ended
        if process.returncode != 0:
            raise _Ended(f"{command[0]} ended with {process.returncode}: {errors[-600:]}")
        return out

    def _output(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                self._go_on(deadline)  # it would wait for minutes for a server that is gone

    def _go_on(self, deadline: float) -> None:
        """Raise ``_Ended`` where there is nothing more to wait for."""
        for server in self._processes:
            if server.poll() is not None:
                raise _Ended(f"{server.args!r} ended with {server.returncode}")
        if time.monotonic() > deadline:
            raise _Ended(f"not ready in {_PATIENCE:.0f} s")

    def _serve(self, *command: str) -> subprocess.Popen[bytes]:
        assert self._folder is not None
        with (self._folder / f"{command[0]}.out").open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,
            )
        self._processes.append(process)
        self._watch()
        return process

    def _environment(self) -> dict[str, str]:
        """A bare one: what the caller has set for a cluster of his own is none of this one's business."""
        folder = str(self._folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": folder,
            "TMPDIR": folder,
            "CEPH_CONF": f"{folder}/ceph.conf",
        }

    def _await_answer(self, gateway: subprocess.Popen[bytes]) -> None:
        # No proxy of the environment stands between us and loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                opener.open(self.s3_endpoint, timeout=5).close()
            except OSError:
                with suppress(subprocess.TimeoutExpired):
                    gateway.wait(timeout=0.02)
                self._go_on(deadline)
            else:
                return

    def _watch(self) -> None:
        """Have a process watch over the servers that run now, in the place of the one before."""
        self._unwatch()
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "credbroker-ceph", str(self._folder), *map(str, self.pids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _unwatch(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.kill()
            watchdog.wait()
            assert watchdog.stdin is not None
            watchdog.stdin.close()

    def _logs(self) -> str:
        """The last lines of each log."""
        if self._folder is None:
            return ""
        found = {
            path.name: path.read_text(errors="replace").splitlines()[-8:] for path in sorted(self._folder.glob("*.[lo]*"))
        }
        return "\n".join("\n".join([name, *lines]) for name, lines in found.items() if lines)

    def _stop(self) -> None:
        """End the servers by their process ids and remove what they wrote. Does nothing the second time."""
        self._unwatch()  # first of all: once the servers are waited for, their process ids may be others'
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()  # what they would put in order is thrown away
        for process in processes:
            process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Ended(Exception):
    """A part of the cluster ended, or was not ready in time: what is waited for will not come."""


def _policy(action: str, **target: object) -> str:
    statement = {"Effect": "Allow", "Action": [action], **target}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
