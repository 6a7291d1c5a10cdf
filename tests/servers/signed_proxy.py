"""A reverse proxy that checks whose keys each request was signed with, and passes it on as it came."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.servers.loopback import LoopbackServer

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/[0-9]{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request, "
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "accept-encoding")


@dataclass(frozen=True)
class Signed:
    """One request: what was asked, and what its signature names."""

    method: str
    path: str
    target: str
    """The operation, where the protocol names it in a header."""
    key: str
    token: str | None
    region: str
    service: str
    headers: Mapping[str, str]
    body: bytes

    def is_signed_with(self, secret: str) -> bool:
        """Whether the signature is that of ``secret``: made anew here, of what arrived."""
        found = _AUTHORIZATION.fullmatch(self.headers["authorization"])
        assert found is not None
        names = found["signed"].split(";")
        parts = urlsplit(self.path)
        query = f"?{parts.query}" if parts.query else ""
        request = AWSRequest(
            self.method,
            f"http://{self.headers['host']}{parts.path}{query}",
            {name: value for name, value in self.headers.items() if name in names and name != "host"},
            self.body,
        )
        request.context["timestamp"] = self.headers["x-amz-date"]
        signer = SigV4Auth(Credentials(self.key, secret, self.token), self.service, self.region)
        canonical = signer.canonical_request(request)
        return signer.signature(signer.string_to_sign(request, canonical), request) == found["signature"]


class SignedProxy(LoopbackServer):
    """A context manager: the proxy runs on loopback inside the block. ``asked`` has every request, in order."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.asked: list[Signed] = []
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        owner: SignedProxy = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if found is None:
            self._answer(401, "text/plain", b"not signed")
            return
        owner.asked.append(
            Signed(
                self.command,
                self.path,
                headers.get("x-amz-target", ""),
                found["key"],
                headers.get("x-amz-security-token"),
                found["region"],
                found["service"],
                headers,
                body,
            )
        )
        upstream = http.client.HTTPConnection(owner.upstream.hostname or "", owner.upstream.port, timeout=30)
        try:
            # The Host that was signed goes on as it came.
            passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body=body or None, headers=passed)
            answer = upstream.getresponse()
            self._answer(answer.status, answer.headers.get("content-type", ""), answer.read())
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815 - the names that http.server calls

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
