"""Servers that let in whoever shows a JWT of the tests' OAuth2 server that is good at that moment, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from joserfc.errors import JoseError

from tests.servers.loopback import LoopbackServer
from tests.servers.strict import Answer, Asked, StrictServer

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider

_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "accept-encoding", "authorization")


class Gate:
    """Judges bearer tokens: signature, issuer, audience and times. ``admitted`` has a digest of each, in order."""

    def __init__(self, oidc: OidcProvider, audience: str) -> None:
        self._oidc = oidc
        self._audience = audience
        self.admitted: list[str] = []
        self.refused: list[str] = []

    def admits(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":  # RFC 9110 section 11.1: without regard to case
            self.refused.append("NoToken")
            return False
        try:
            self._oidc.claims(token, self._audience)
        except (JoseError, ValueError) as fault:
            self.refused.append(type(fault).__name__)
            return False
        self.admitted.append(hashlib.sha256(token.encode()).hexdigest()[:12])
        return True


class GuardedCatalog(LoopbackServer):
    """A reverse proxy before an Iceberg REST catalog, which is asked with a token of its own: ``own_token``."""

    def __init__(self, gate: Gate, upstream: str, own_token: str) -> None:
        super().__init__(_Forwarding)
        self.gate = gate
        self.upstream = urlsplit(upstream)
        self.own_token = own_token


class _Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        owner: GuardedCatalog = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not owner.gate.admits(self.headers.get("authorization", "")):
            error = {"error": {"message": "not authorized", "type": "NotAuthorizedException", "code": 401}}
            self._answer(401, json.dumps(error).encode())
            return
        passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        upstream = http.client.HTTPConnection(owner.upstream.netloc, timeout=30)
        try:
            headers = {**passed, "Authorization": f"Bearer {owner.own_token}"}
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            self._answer(answer.status, answer.read())
        finally:
            upstream.close()

    do_GET = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""


class GuardedBucket(StrictServer):
    """One object of Google Cloud Storage: its listing and its media, by the JSON API (Google, "Objects": list, get)."""

    def __init__(self, gate: Gate, bucket: str, name: str, content: bytes) -> None:
        super().__init__()
        self.gate = gate
        self._bucket, self._name, self._content = bucket, name, content

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "GET"
        if not self.gate.admits(asked.headers.get("authorization", "")):
            error = {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}
            return Answer(401, {"error": error}, {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'})
        bucket = f"/storage/v1/b/{self._bucket}"
        if asked.url.path == bucket:  # where it is, which the client's traces tell
            return Answer(200, {"kind": "storage#bucket", "name": self._bucket, "location": "EU", "projectNumber": "1"})
        listing, media = f"{bucket}/o", f"/download{bucket}/o/{quote(self._name, safe='')}"
        if asked.url.path == listing:
            assert self._name.startswith(asked.query["prefix"])
            item = {"kind": "storage#object", "bucket": self._bucket, "name": self._name, "size": str(len(self._content))}
            return Answer(200, {"kind": "storage#objects", "items": [item]})
        assert asked.url.path == media
        assert asked.query["alt"] == "media"
        digest = base64.b64encode(hashlib.md5(self._content, usedforsecurity=False).digest()).decode()
        return Answer(200, self._content, {"Content-Type": "application/octet-stream", "X-Goog-Hash": f"md5={digest}"})


class GuardedObject(StrictServer):
    """One object at any path, as a service that takes tokens of Microsoft Entra has it."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "GET"
        if not self.gate.admits(asked.headers.get("authorization", "")):
            return Answer(401, {"error": {"code": "InvalidAuthenticationInfo"}}, {"WWW-Authenticate": "Bearer"})
        return Answer(200, b"read")
