"""A reverse proxy that counts the requests to a server which does not tell."""

from __future__ import annotations

import http.client
import ssl
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.servers.loopback import LoopbackServer

_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "accept-encoding")


class Counted(LoopbackServer):
    """A context manager: what comes to ``url`` goes on to ``upstream`` as it came. ``authority`` is for one with TLS."""

    def __init__(self, upstream: str, authority: str | None = None) -> None:
        super().__init__(_Handler)
        self.upstream = urlsplit(upstream)
        self.tls = ssl.create_default_context(cafile=authority) if authority is not None else None
        self.calls: list[str] = []
        """Method and path of each request, in order."""
        self.answers: list[bytes] = []
        """The body of each answer."""

    @property
    def url(self) -> str:
        return self.uri + self.upstream.path

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.upstream.hostname or "", self.upstream.port
        if self.tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=30, context=self.tls)
        return http.client.HTTPConnection(host, port, timeout=30)


class _Handler(BaseHTTPRequestHandler):
    def _pass_on(self) -> None:
        owner: Counted = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        owner.calls.append(f"{self.command} {self.path.partition('?')[0]}")
        upstream = owner.connect()
        try:
            # The Host that was signed goes on as it came.
            passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body=body or None, headers=passed)
            answer = upstream.getresponse()
            content = answer.read()
            owner.answers.append(content)
        finally:
            upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _pass_on  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
