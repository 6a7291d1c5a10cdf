"""A sidecar as those who ask one see it: its directory, its socket, its port, and answers that a test sets.

Who is let in is the guard's own rule: a declared user by the socket, whoever has the token of the path by TCP.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

KEYS = {
    "AccessKeyId": "ASIACANARYCANARY",
    "SecretAccessKey": "canary/secret+key",
    "Token": "canary-session-token==",
    "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
}
"""The answer of the container credentials' protocol."""
_NOBODY = (401, {"code": "Unauthorized", "message": "a token is needed"})


def told(name: str, **changes: object) -> dict[str, object]:
    """One binding in the answer of ``/status``."""
    return {
        "name": name,
        "kind": "storage",
        "profile": "lake",
        "locations": ["s3://lake/sales/"],
        "table": None,
        "access": "read",
        "protocols": ["aws-container"],
        "files": [],
        "state": "fresh",
        "expires_at": "2026-11-23T07:00:00Z",
        "life": 3585.0,
        "left": 2540.5,
        "refresh_in": 1600.0,
        "issues": 3,
        "issues_last_hour": 1,
        "answers": 1234,
        "refusals": 0,
        "failures": 0,
        "error": None,
        "error_at": None,
        "fingerprint": "c0ffee",
        **changes,
    }


def status_of(*bindings: Mapping[str, object], draining: bool = False, fault: str | None = None) -> dict[str, object]:
    """The answer of ``/status``."""
    return {
        "ok": True,
        "pid": 4711,
        "started_at": "2026-11-23T05:00:00Z",
        "draining": draining,
        "config": {"paths": ["/etc/platform.yaml"], "loaded_at": "2026-11-23T05:00:00Z", "fault": fault},
        "bindings": list(bindings),
        "refused": {},
    }


class StubSidecar:
    """Lives as long as its block. ``answers`` has a status and an object, or bytes, for each path."""

    def __init__(self, directory: Path, *, unix: bool = True, admits: bool = True) -> None:
        self.directory = directory
        self.answers: dict[str, tuple[int, object]] = {
            "/lake-read/aws-container": (200, KEYS),
            "/status": (200, status_of(told("lake-read"))),
        }
        self.tokens = {"lake-read": "token-of-lake-read", "status": "token-of-status"}
        self.admits = admits
        """Whether this user is among those who may ask by the socket."""
        self.asked: list[tuple[str, str]] = []
        """How (``unix`` or ``tcp``) and which path."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._servers = [_Server(("127.0.0.1", 0), self), *([_UnixServer(directory, self)] if unix else [])]
        self.port = self._servers[0].server_address[1]
        self.describe()
        for name, token in self.tokens.items():
            (directory / f"{name}.token").write_text(token)

    def describe(self, **changes: object) -> None:
        description = {
            "version": 1,
            "pid": 4711,
            "url": f"http://127.0.0.1:{self.port}",
            "socket": "/somewhere/else/credbroker.sock",  # as another container has it
            "bindings": {"lake-read": ["aws-container"], "polaris": ["oauth2-token"]},
            **changes,
        }
        (self.directory / "sidecar.json").write_text(json.dumps(description))

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: Any, stub: StubSidecar) -> None:
        self.stub = stub
        super().__init__(address, _Handler)


class _UnixServer(_Server):
    address_family = socket.AF_UNIX
    allow_reuse_port = False

    def __init__(self, directory: Path, stub: StubSidecar) -> None:
        super().__init__(str(directory / "credbroker.sock"), stub)

    def server_bind(self) -> None:  # HTTPServer's own would look for the name of a host
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        return connection, ("unix", 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        stub, unix = self.server.stub, self.server.address_family == socket.AF_UNIX
        stub.asked.append(("unix" if unix else "tcp", self.path))
        assert self.headers["Host"] == f"127.0.0.1:{stub.port}"
        token = stub.tokens.get(self.path.split("/")[1])
        if unix:
            assert self.headers["Authorization"] is None, "who asks is known, and no token is to lie about"
            admitted = stub.admits
        else:
            admitted = self.headers["Authorization"] == f"Bearer {token}"
        status, told = stub.answers.get(self.path, (404, {"code": "NotFound"})) if admitted else _NOBODY
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's word
        pass
