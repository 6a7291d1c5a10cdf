"""A thin reverse proxy before an Iceberg REST catalog: it adds what the catalog lacks, and refuses requests when told to.

``GET .../tables/{table}/credentials`` is answered with the ``storage-credentials`` of the table that the catalog behind it
loads, and ``/v1/config`` lists that route. Everything else goes through as it is.
"""

from __future__ import annotations

import http.client
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.servers.loopback import LoopbackServer

ROUTE = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials"
_PASSED_ON = ("authorization", "content-type", "accept", "x-iceberg-access-delegation")


class CredentialsProxy(LoopbackServer):
    """A context manager: the proxy runs on loopback inside the block."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.seen: list[tuple[str, str]] = []
        """Method and path of each request, without its query, in the order of arrival."""
        self.refusals: list[int] = []
        """The statuses that the next requests to the catalog itself are refused with, one each."""
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _proxy(self) -> CredentialsProxy:
        return self.server.owner  # type: ignore[attr-defined, no-any-return]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        self._proxy.seen.append((self.command, path))
        if self._proxy.refusals and path != "/v1/oauth/tokens":
            self._answer(self._proxy.refusals.pop(0), json.dumps({"error": {"type": "NotAuthorizedException"}}).encode())
        elif self.command == "GET" and path.endswith("/credentials"):
            status, answer = self._ask("GET", path.removesuffix("/credentials"), b"")
            if status == 200:
                answer = json.dumps({"storage-credentials": json.loads(answer)["storage-credentials"]}).encode()
            self._answer(status, answer)
        elif self.command == "GET" and path == "/v1/config":
            status, answer = self._ask("GET", self.path, b"")
            if status == 200:
                answer = json.dumps({**json.loads(answer), "endpoints": [ROUTE]}).encode()
            self._answer(status, answer)
        else:
            self._answer(*self._ask(self.command, self.path, body))

    do_GET = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the names that http.server calls

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        upstream = http.client.HTTPConnection(self._proxy.upstream.hostname or "", self._proxy.upstream.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
            upstream.request(method, path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            return answer.status, answer.read()
        finally:
            upstream.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing is printed: the path of a token request would be."""
