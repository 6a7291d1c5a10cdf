"""What asks a server over loopback: a process of its own, ``python -m benchmarks.load``, so that it shares no interpreter.

At a constant rate the instant of each request is fixed before the first is sent, and its latency runs from that instant
to the last byte of the answer: a server that stalls delays what is due meanwhile, and each of those counts (leaving them
out is called coordinated omission). In a closed loop every connection asks again as soon as it is answered.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass

from benchmarks.sampling import nearest_rank

CONNECTIONS = 200
_PATIENCE = 10.0
"""Seconds after which what is not answered counts as an error."""
_LEAD = 0.05


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one run came to. Times are seconds; a latency at a constant rate counts from the instant it was due."""

    answers: int
    errors: int
    seconds: float
    p50: float
    p99: float
    longest: float
    busy: float
    """The part of one core that the generator itself took: at 1 it is the generator that was measured."""

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def at_rate(port: int, request: bytes, rate: float, seconds: float) -> Loaded:
    """Ask ``rate`` times a second."""
    return _in_a_process(port, request, rate, seconds)


def in_a_loop(port: int, request: bytes, seconds: float) -> Loaded:
    """Ask as often as the server answers."""
    return _in_a_process(port, request, None, seconds)


def _in_a_process(port: int, request: bytes, rate: float | None, seconds: float) -> Loaded:
    # By its standard input and not its arguments, which anybody may read: the request holds a token.
    order = {"port": port, "request": request.decode("ascii"), "rate": rate, "seconds": seconds}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"], input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True
    )
    return Loaded(**json.loads(ended.stdout))


class _BadAnswerError(Exception):
    pass


class _Connection:
    """One connection that is kept open, with at most one request under way."""

    __slots__ = ("_received", "due", "socket", "under_way")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.under_way = False
        self._received = b""

    def ask(self, request: bytes, due: float) -> None:
        self.due, self.under_way = due, True
        self.socket.send(request)  # some hundred bytes, into an empty buffer

    def answered(self) -> bool:
        """Take what has come; True when the answer is whole. Raises where it is none, or not a 200."""
        data = self.socket.recv(65_536)
        if not data or not self.under_way:
            raise _BadAnswerError
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise _BadAnswerError
        _, found, length = head.lower().partition(b"\r\ncontent-length: ")
        if not found:
            raise _BadAnswerError
        if len(body) < int(length.partition(b"\r\n")[0]):
            return False
        self._received, self.under_way = b"", False
        return True


class _Load:
    """The loop. A connection that fails is an error and is opened anew."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port, self._request = port, request
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._latencies: list[float] = []
        self._errors = 0
        for _ in range(CONNECTIONS):
            self._open()

    def run(self, rate: float | None, seconds: float) -> Loaded:
        gc.disable()  # nothing here makes cycles, and a pause of ours would be told as the server's
        cpu, began = time.process_time(), time.perf_counter() + _LEAD
        total = None if rate is None else round(rate * seconds)
        asked, ended = 0, began + seconds
        while (now := time.perf_counter()) < ended + _PATIENCE:
            due = began
            while self._idle:
                due = began + asked / rate if rate is not None else now
                if due > now or (asked == total if total is not None else now >= ended):
                    break
                asked += self._ask(due)
            over = asked == total if total is not None else now >= ended
            if over and len(self._idle) == CONNECTIONS:
                break
            self._take(max(0.0, due - now) if self._idle and not over else 1.0)
        took = max(time.perf_counter() - began, seconds)
        missing = CONNECTIONS - len(self._idle) + (total - asked if total is not None else 0)
        latencies = self._latencies
        if not latencies:
            raise SystemExit("not one request was answered")
        return Loaded(
            len(latencies), self._errors + missing, took, nearest_rank(latencies, 50), nearest_rank(latencies, 99),
            max(latencies), (time.process_time() - cpu) / took,
        )  # fmt: skip

    def _ask(self, due: float) -> int:
        connection = self._idle.popleft()  # each in its turn, so that all of them stay in use
        try:
            connection.ask(self._request, due)
        except OSError:
            self._fail(connection)
        return 1

    def _take(self, wait: float) -> None:
        select.select([self._poll], [], [], wait)  # epoll's own timeout is in whole milliseconds
        for descriptor, _ in self._poll.poll(0):
            connection = self._connections[descriptor]
            try:
                if connection.answered():
                    self._latencies.append(time.perf_counter() - connection.due)
                    self._idle.append(connection)
            except (OSError, _BadAnswerError):
                self._fail(connection)

    def _fail(self, connection: _Connection) -> None:
        self._errors += 1
        self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        if not connection.under_way and connection in self._idle:
            self._idle.remove(connection)
        self._open()

    def _open(self) -> None:
        connection = _Connection(self._port)
        self._poll.register(connection.socket, select.EPOLLIN)
        self._connections[connection.socket.fileno()] = connection
        self._idle.append(connection)


def main() -> None:
    order = json.load(sys.stdin)
    load = _Load(order["port"], order["request"].encode("ascii"))
    print(json.dumps(asdict(load.run(order["rate"], order["seconds"]))))


if __name__ == "__main__":
    main()
