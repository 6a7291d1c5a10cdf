"""One protocol of the sidecar on loopback, for clients whose own parsers judge it. The guard is the app's, and not here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr
from tests.servers.loopback import LoopbackServer

from credbroker.credentials import Credential
from credbroker.request import CredentialRequest
from credbroker.sidecar.protocol import Answer, Ask, Place, Protocol, Refusal
from credbroker.sidecar.protocols import PROTOCOLS

BINDING = "lake-read"
TOKEN = "kR7_caller-token"
NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
ENDS = NOW + timedelta(minutes=50, microseconds=900_000)


def ask(
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    granted: CredentialRequest | None = None,
) -> Ask:
    return Ask(BINDING, query or {}, headers or {}, form or {}, NOW, granted)


def place(*, region: str | None = None, endpoint: str | None = None, binding: str = BINDING) -> Place:
    return Place(
        binding=binding,
        authority="127.0.0.1:8642",
        token_file="/run/credbroker/lake-read.token",
        token=SecretStr(TOKEN),
        region=region,
        endpoint=endpoint,
    )


@dataclass(frozen=True)
class Seen:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)


class ProtocolServer(LoopbackServer):
    """Serves ``value`` by real time: it ends ``life`` from now. What was asked is in ``seen``."""

    def __init__(self, protocol: str, value: Credential, granted: CredentialRequest | None = None) -> None:
        super().__init__(_Handler)
        self.protocol: Protocol = PROTOCOLS[protocol]
        self.value = value
        self.granted = granted
        self.life = timedelta(hours=1)
        self.seen: list[Seen] = []

    @property
    def authority(self) -> str:
        return self.uri.removeprefix("http://")

    @property
    def place(self) -> Place:
        return Place(
            binding=BINDING, authority=self.authority, token_file="/run/credbroker/lake-read.token", token=SecretStr(TOKEN)
        )

    def told(self, method: str, seen: Seen) -> Answer:
        prefix = "" if self.protocol.rooted else f"/{BINDING}/{self.protocol.name}"
        for route in self.protocol.routes:
            if (route.method, prefix + route.path) == (method, seen.path):
                break
        else:
            return Answer(404, b"")
        if route.token is not None and route.token(seen.headers, seen.form) != TOKEN:
            return self.protocol.refusal(Refusal(401, "Unauthorized", "the token is not that of this binding"))
        asked = Ask(BINDING, seen.query, seen.headers, seen.form, datetime.now(UTC), self.granted)
        refused = route.check(asked)
        if refused is not None:
            return self.protocol.refusal(refused)
        if route.answer is not None:
            return route.answer(asked, self.value, asked.now + self.life)
        assert route.text is not None
        return route.text(asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._tell({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._tell(dict(parse_qsl(body, strict_parsing=True, keep_blank_values=True)))

    def _tell(self, form: dict[str, str]) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(url.path, dict(parse_qsl(url.query)), headers, form)
        server: ProtocolServer = self.server.owner  # type: ignore[attr-defined]
        server.seen.append(seen)
        answer = server.told(self.command, seen)
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        self.send_header("content-length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""
