"""Servers on loopback that answer a short request with a short answer: started, timed, weighed, and ended by process id."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

Start = Callable[[], AbstractContextManager["Served"]]
"""Starts one afresh; it runs inside the block."""
_START_WITHIN = 60.0
_POLL = 0.002


@dataclass(frozen=True, slots=True)
class Served:
    """A server that has given its first answer."""

    name: str
    pid: int
    port: int
    request: bytes
    body: bytes
    """Of its first answer."""
    first_answer: float
    """Seconds from the start of its process to the last byte of its first 200."""
    status: bytes = b""
    """The request that shows its own state, where it has one."""

    @property
    def resident(self) -> float:
        return resident(self.pid)


def resident(pid: int) -> float:
    """A process's resident memory in MB of 10^6 bytes, as Linux counts it: the pages of its program, too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


@contextmanager
def serving(
    name: str, command: Sequence[str], port: int, request: Callable[[], bytes | None], environment: Mapping[str, str]
) -> Iterator[Served]:
    """Run ``command`` until the block ends. ``request`` may be None while it cannot be known yet."""
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.defpath, **environment},
            start_new_session=True,
        )
        try:
            while True:
                asked = request()
                body = answer(port, asked) if asked is not None else None
                took = time.perf_counter() - began
                if asked is not None and body is not None:
                    break
                if process.poll() is not None or took > _START_WITHIN:
                    log.seek(0)
                    raise RuntimeError(f"{name} did not start: {log.read().decode(errors='replace')[-2_000:]}")
                time.sleep(_POLL)
            yield Served(name, process.pid, port, asked, body, took)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answer(port: int, request: bytes) -> bytes | None:
    """The body of a 200; None where there is nothing to be had yet."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            while data := connection.recv(65_536):
                received += data
    except OSError:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200 ") else None
