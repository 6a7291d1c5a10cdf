"""Google Cloud, as far as a service account's key and Secret Manager go. It cannot be run here, so each request is checked.

- The token: https://developers.google.com/identity/protocols/oauth2/service-account#httprest
- The secret: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
- Errors: https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.servers.strict import Answer, Asked, StrictServer, exactly, now, rsa_key

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SKEW = 300  # seconds: "a reasonable timeframe", says the answer to an assertion beyond it


@dataclass
class Version:
    data: bytes
    state: str = "ENABLED"
    crc32c: str | None = None


class Google(StrictServer):
    """One project ``lab`` with one service account, whose key is ``key``. The token endpoint stands at ``/token``."""

    project = "lab"
    email = "reader@lab.iam.gserviceaccount.com"

    def __init__(self) -> None:
        super().__init__()
        self.life = 3599
        self.secrets: dict[str, list[Version]] = {}
        self.denied: set[str] = set()
        self._private = rsa_key()
        self._key_id: str | None = secrets.token_hex(20)
        self._tokens: dict[str, float] = {}
        self._issued: set[str] = set()
        self.elsewhere: Callable[[str], bool] = lambda _: False
        """Whether a token is one that another part of Google Cloud issued."""

    @property
    def token_uri(self) -> str:
        return f"{self.uri}/token"

    @property
    def key(self) -> dict[str, Any]:
        """The key's file, as Google makes one (``gcloud iam service-accounts keys create``)."""
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self._key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "1234567890",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": self.token_uri,
            "universe_domain": "googleapis.com",
        }

    def add(self, name: str, data: str | bytes, **options: Any) -> None:
        """A new version, which is the latest from now on."""
        raw = data.encode() if isinstance(data, str) else data
        self.secrets.setdefault(name, []).append(Version(raw, **options))

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def delete_key(self) -> None:
        self._key_id = None

    def answer(self, asked: Asked) -> Answer:
        return self._token(asked) if asked.url.path == "/token" else self._access(asked)

    def refuse(self, fault: str) -> Answer:
        return _error(400, "INVALID_ARGUMENT")

    def _token(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert not asked.url.query
        assert "authorization" not in asked.headers
        form = asked.form
        exactly(form, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=None)
        signed, _, signature = form["assertion"].rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        if self._key_id is None or header["kid"] != self._key_id:
            return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        assert header == {"alg": "RS256", "typ": "JWT", "kid": self._key_id}
        try:
            self._private.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise AssertionError("the assertion's signature does not match") from None
        assert set(claims) == {"iss", "scope", "aud", "iat", "exp"}
        assert (claims["iss"], claims["scope"], claims["aud"]) == (self.email, SCOPE, self.token_uri)
        assert type(claims["iat"]) is int
        assert type(claims["exp"]) is int
        assert 0 < claims["exp"] - claims["iat"] <= 3600, "exp has a maximum of one hour after iat"
        assert abs(now() - claims["iat"]) <= _SKEW, "iat is not in a reasonable timeframe"
        token = f"ya29.c.{secrets.token_urlsafe(120)}"
        self._tokens[token] = now() + self.life
        self._issued.add(token)
        return Answer(200, {"access_token": token, "expires_in": self.life, "token_type": "Bearer"})

    def _access(self, asked: Asked) -> Answer:
        begin, _, name = asked.url.path.removesuffix("/versions/latest:access").rpartition("/")
        assert asked.method == "GET"
        assert begin == f"/v1/projects/{self.project}/secrets"
        assert asked.url.path.endswith("/versions/latest:access")
        assert not asked.url.query
        assert not asked.body, "the request body must be empty"
        kind, _, token = asked.headers["authorization"].partition(" ")
        assert kind == "Bearer"
        elsewhere = self.elsewhere(token)
        assert elsewhere or token in self._issued, "this token was never issued"
        if not elsewhere and self._tokens.get(token, 0) <= now():
            return _error(401, "UNAUTHENTICATED", {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'})
        if name in self.denied:
            return _error(403, "PERMISSION_DENIED")
        if not self.secrets.get(name):
            return _error(404, "NOT_FOUND")
        latest = self.secrets[name][-1]
        if latest.state != "ENABLED":
            return _error(400, "FAILED_PRECONDITION")
        payload = {"data": b64encode(latest.data).decode()}
        if latest.crc32c is not None:
            payload["dataCrc32c"] = latest.crc32c
        version = f"projects/123456/secrets/{name}/versions/{len(self.secrets[name])}"
        return Answer(200, {"name": version, "payload": payload})


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"error": {"code": status, "message": "as the vendor words it", "status": code}}, headers or {})


def _decoded(part: str) -> bytes:
    assert "=" not in part, "RFC 7515: base64url without padding"
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
