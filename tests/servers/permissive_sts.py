"""An STS that ignores session policies: a proxy before a real one, which drops ``Policy`` and signs the call anew.

Stores that behave so exist: they take the parameter, answer 200, and give out all that the role may do.
"""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.servers.loopback import LoopbackServer


class PermissiveSTS(LoopbackServer):
    """A context manager: it answers on loopback inside the block, for whoever has any keys, as the owner of these."""

    def __init__(self, upstream: str, access_key: str, secret_key: str) -> None:
        self.upstream = upstream
        self.dropped: list[str] = []
        """The policies that were asked for and not passed on."""
        self.keys = Credentials(access_key, secret_key)
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    @property
    def _sts(self) -> PermissiveSTS:
        return self.server.owner  # type: ignore[attr-defined, no-any-return]

    def do_POST(self) -> None:
        asked = dict(parse_qsl(self.rfile.read(int(self.headers.get("content-length") or 0)).decode()))
        self._sts.dropped.append(asked.pop("Policy", ""))
        status, body = self._ask(urlencode(asked).encode())
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ask(self, form: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = AWSRequest("POST", f"{self._sts.upstream}/", headers=headers, data=form)
        SigV4Auth(self._sts.keys, "sts", "us-east-1").add_auth(request)
        upstream = http.client.HTTPConnection(urlsplit(self._sts.upstream).netloc, timeout=30)
        try:
            upstream.request("POST", "/", body=form, headers=dict(request.headers.items()))
            answer = upstream.getresponse()
            return answer.status, answer.read()
        finally:
            upstream.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
