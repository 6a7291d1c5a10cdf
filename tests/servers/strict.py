"""A made cloud: a request that the vendor's documents do not allow fails the test, whoever hides the answer to it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.loopback import LoopbackServer


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    url: SplitResult
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.url.path}"

    @property
    def form(self) -> dict[str, str]:
        fields = parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(fields)) == len(fields), "a parameter stands there twice (RFC 6749 section 3.2)"
        return dict(fields)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.url.query, keep_blank_values=True, strict_parsing=True)) if self.url.query else {}


@dataclass(frozen=True)
class Answer:
    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


class StrictServer(LoopbackServer):
    """A context manager. A wrong request is answered as the vendor would, and raised when the block ends.

    ``answer`` is a subclass's: it returns an ``Answer``, or raises ``AssertionError`` for what no client may send.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.asked: list[Asked] = []
        """Every request, in order."""
        self.next: deque[Answer] = deque()
        """Answers to give instead of the right ones, in order; a request is checked all the same."""
        self.wrong: list[str] = []
        self._one_at_a_time = threading.Lock()

    def answer(self, asked: Asked) -> Answer:
        raise AssertionError(f"{asked} is no request that this server knows")

    def refuse(self, fault: str) -> Answer:
        """What the vendor answers to a wrong request."""
        return Answer(400, {"error": "invalid_request"})

    @property
    def calls(self) -> list[str]:
        """Method and path of every request."""
        return [str(asked) for asked in self.asked]

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, value, trace)
        assert not self.wrong, f"wrong requests were sent: {self.wrong}"

    def respond(self, asked: Asked) -> Answer:
        with self._one_at_a_time:
            self.asked.append(asked)
            try:
                answer = self.answer(asked)
            except (AssertionError, ValueError, KeyError) as fault:
                self.wrong.append(f"{asked}: {fault!r}")
                return self.refuse(str(fault))
            return self.next.popleft() if self.next else answer


def now() -> float:
    return datetime.now(UTC).timestamp()


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """One for all tests: to make it takes longer than most of them."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def exactly(fields: Mapping[str, str], **expected: str | None) -> None:
    """``fields`` are these and no others; None is any text."""
    assert set(fields) == set(expected), f"fields {sorted(fields)}, not {sorted(expected)}"
    for name, value in expected.items():
        assert value is None or fields[name] == value, f"{name} is not {value}"


class _Handler(BaseHTTPRequestHandler):
    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server: StrictServer = self.server.owner  # type: ignore[attr-defined]
        answer = server.respond(Asked(self.command, urlsplit(self.path), headers, body))
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def do_DELETE(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
