"""Acme: the token service and the vault that the plug-ins of tests/plugins are for."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from tests.servers.loopback import LoopbackServer


class Acme(LoopbackServer):
    """Strict about each request. ``secrets`` are on the vault's shelf; the token service takes the one named acme-key."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.secrets = {"acme-key": "canary-key-0123456789"}
        self.vault_token = "canary-vault-0123456789"
        self.seconds = 900
        self.down = False
        self.issued: list[str] = []
        self.revoked: list[str] = []
        self.seen: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        owner: Acme = self.server.owner  # type: ignore[attr-defined]
        owner.seen.append(self.path)
        if self.headers["authorization"] != f"Bearer {owner.vault_token}":
            return self._answer(401, {"error": self.headers["authorization"]})
        _, shelves, shelf, name = self.path.split("/")
        if (shelves, shelf) != ("shelves", "prod") or name not in owner.secrets:
            return self._answer(404, {})
        return self._answer(200, {"value": owner.secrets[name]})

    def do_POST(self) -> None:
        owner: Acme = self.server.owner  # type: ignore[attr-defined]
        owner.seen.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if owner.down:
            return self._answer(503, {"error": self.headers["authorization"]}, retry_after="7")
        if self.headers["authorization"] != f"Acme-Key {owner.secrets['acme-key']}":
            return self._answer(401, {"error": self.headers["authorization"]})
        if self.path != "/v1/tokens" or set(asked) != {"team", "scopes"}:
            return self._answer(400, {})
        token = f"canary-token-{len(owner.issued)}-0123456789"
        owner.issued.append(token)
        return self._answer(200, {"token": token, "scopes": asked["scopes"], "valid_for": owner.seconds})

    def do_DELETE(self) -> None:
        owner: Acme = self.server.owner  # type: ignore[attr-defined]
        owner.revoked.append(self.headers["authorization"].removeprefix("Bearer "))
        self.send_response(204)
        self.end_headers()

    def _answer(self, status: int, body: object, **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Nothing."""
