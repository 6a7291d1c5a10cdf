"""The one call of a Kubernetes API server that a vault's ``kubernetes`` login makes: TokenReview, on loopback over TLS.

Source: Kubernetes API reference, authentication.k8s.io/v1. No API server can be had from a package index.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tests.servers.certificates import server_context
from tests.servers.loopback import LoopbackServer

AUDIENCE = "vault"
NAMESPACE, ACCOUNT = "data", "pipeline"
_VERSION = "authentication.k8s.io/v1"
_PATH = f"/apis/{_VERSION}/tokenreviews"


class TokenReviews(LoopbackServer):
    """A context manager. A request that is not exactly that call is refused, and kept in ``faults``."""

    def __init__(self, folder: Path) -> None:
        self.key = ECKey.generate_key("P-256")
        self.reviewer = secrets.token_urlsafe(16)
        self.faults: list[str] = []
        self.count = 0
        super().__init__(_Review)
        self._server.socket = server_context(folder).wrap_socket(self._server.socket, server_side=True)
        self.authority = (folder / "ca.pem").read_text()

    @property
    def uri(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}"

    def account_token(
        self, *, account: str = ACCOUNT, audience: str = AUDIENCE, lifetime: timedelta = timedelta(hours=1)
    ) -> str:
        """A projected token of a service account, as the kubelet writes it."""
        now = datetime.now(UTC)
        claims = {
            "aud": [audience],
            "exp": now + lifetime,
            "iat": now,
            "nbf": now,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": {"name": account, "uid": f"uid-of-{account}"}},
            "sub": f"system:serviceaccount:{NAMESPACE}:{account}",
        }
        return jwt.encode({"alg": "ES256"}, claims, self.key)

    def judge(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, object]:
        """The answer of the API server."""
        self.count += 1
        asked = json.loads(body or b"{}")
        spec = asked.get("spec", {})
        # Version and kind may be left out, as the path says them too; other ones are refused.
        checks = [
            (404, "the path", (method, path) == ("POST", _PATH)),
            (401, "the reviewer's token", headers.get("authorization") == f"Bearer {self.reviewer}"),
            (415, "the content type", (headers.get("content-type") or "").partition(";")[0] == "application/json"),
            (400, "the version", asked.get("apiVersion", _VERSION) == _VERSION),
            (400, "the kind", asked.get("kind", "TokenReview") == "TokenReview"),
            (422, "the spec", {"token"} <= set(spec) <= {"token", "audiences"} and isinstance(spec["token"], str)),
        ]
        for status, what, right in checks:
            if not right:
                self.faults.append(what)
                return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        answer = {"apiVersion": _VERSION, "kind": "TokenReview", "spec": spec}
        return 201, {**answer, "status": self._status(spec["token"], spec.get("audiences") or [])}

    def _status(self, token: str, audiences: list[str]) -> dict[str, object]:
        try:
            claims = jwt.decode(token, self.key, algorithms=["ES256"]).claims
        except (JoseError, ValueError):
            return {"authenticated": False, "error": "invalid bearer token"}
        common = [audience for audience in claims["aud"] if audience in audiences]
        if claims["exp"] <= datetime.now(UTC).timestamp() or not common:
            return {"authenticated": False, "error": "token expired, or for another audience"}
        account = claims["kubernetes.io"]["serviceaccount"]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
        user = {"username": claims["sub"], "uid": account["uid"], "groups": groups}
        return {"authenticated": True, "user": user, "audiences": common}


class _Review(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        owner: TokenReviews = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, answer = owner.judge(
            self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body
        )
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing is printed: the body would be a token."""
