"""A bucket on loopback that notes the keys which each request is signed with, and refuses those that it is told to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.servers.loopback import LoopbackServer

_KEY_ID = re.compile(r"Credential=([^/]+)/([^/]+)/([^/]+)/")
_LISTED = (
    '<?xml version="1.0"?><ListBucketResult><Name>lake</Name><IsTruncated>false</IsTruncated><Contents><Key>{key}</Key>'
    "<Size>{size}</Size><ETag>&quot;1&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
    "</ListBucketResult>"
)


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    key_id: str | None
    region: str | None
    token: str | None
    authorization: str


class KeyedStore(LoopbackServer):
    """A context manager: serves ``body`` at every path."""

    def __init__(self, body: bytes = b"a\n1\n") -> None:
        super().__init__(_Handler)
        self.body = body
        self.listed = "sales/f.csv"
        self.seen: list[Seen] = []
        self.refused: dict[str, str] = {}
        """The error code that is answered to a key's public name."""

    @property
    def key_ids(self) -> list[str | None]:
        return [one.key_id for one in self.seen]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        store: Any = self.server.owner  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("content-length") or 0))
        authorization = self.headers.get("Authorization") or ""
        signed = _KEY_ID.search(authorization)
        key_id, region = (signed[1], signed[3]) if signed else (None, None)
        token = self.headers.get("x-amz-security-token")
        store.seen.append(Seen(self.command, self.path, key_id, region, token, authorization))
        if key_id in store.refused:
            self._send(403, f"<Error><Code>{store.refused[key_id]}</Code><Message>no</Message></Error>".encode())
        elif "list-type" in self.path:
            self._send(200, _LISTED.format(key=store.listed, size=len(store.body)).encode())
        else:
            self._object(store.body if self.command in ("GET", "HEAD") else b"")

    def _object(self, body: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked is None or self.command != "GET":
            return self._send(200, body)
        first = int(asked[1]) if asked[1] else max(0, len(body) - int(asked[2]))
        last = min(int(asked[2]), len(body) - 1) if asked[1] and asked[2] else len(body) - 1
        return self._send(206, body[first : last + 1], f"bytes {first}-{last}/{len(body)}")

    def _send(self, status: int, body: bytes, content_range: str | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if content_range:
            headers["Content-Range"] = content_range
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do  # noqa: N815 - their names are the protocol's

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
