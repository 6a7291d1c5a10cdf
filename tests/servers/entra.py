"""Microsoft Entra's token endpoint, and one Key Vault. They cannot be run here, so each request is checked.

- The token: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow#get-a-token
- Its federated form: https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation
- The secret: https://learn.microsoft.com/en-us/rest/api/keyvault/secrets/get-secret/get-secret
- Errors: https://learn.microsoft.com/en-us/azure/key-vault/general/rest-error-codes
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.servers.strict import Answer, Asked, StrictServer, exactly, now, rsa_key

RESOURCE = "https://vault.azure.net"
_GENERALLY_AVAILABLE = ("7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6")


class Entra(StrictServer):
    """One tenant with one application, and one vault that it may read, on the same origin."""

    tenant = "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42"
    client_id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    issuer = "https://oidc.cluster.example"
    subject = "system:serviceaccount:data:pipeline"

    def __init__(self) -> None:
        super().__init__()
        self.life = 3599
        self.client_secrets = {"app~secret+/=&%"}
        self.secrets: dict[str, list[str]] = {}
        self.disabled: set[str] = set()
        self.forbidden: dict[str, str] = {}
        """Names that are answered with 403, and the inner code."""
        self.challenge = f'Bearer authorization="https://login.windows.net/{self.tenant}", resource="{RESOURCE}"'
        self._cluster = rsa_key()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._issued: set[str] = set()

    def add(self, name: str, value: str) -> None:
        """A new version, which is the latest from now on."""
        self.secrets.setdefault(name, []).append(value)

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def federated_token(self, **claims: object) -> str:
        """A token of the Kubernetes cluster that the application's federated credential trusts."""
        issued = int(now())
        body: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": ["api://AzureADTokenExchange"],
            "iat": issued,
            "exp": issued + 3600,
            "jti": secrets.token_hex(8),
        }
        signed = f"{_encoded(_json({'alg': 'RS256', 'typ': 'JWT'}))}.{_encoded(_json({**body, **claims}))}"
        signature = self._cluster.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def answer(self, asked: Asked) -> Answer:
        return self._token(asked) if asked.url.path.endswith("/token") else self._secret(asked)

    def _token(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        assert asked.url.path == f"/{self.tenant}/oauth2/v2.0/token"
        assert not asked.url.query
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert "authorization" not in asked.headers
        form = asked.form
        common = {"client_id": self.client_id, "grant_type": "client_credentials", "scope": f"{RESOURCE}/.default"}
        if "client_assertion" in form:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            exactly(form, client_assertion=None, client_assertion_type=kind, **common)
            accepted = self._accepts(form["client_assertion"])
        else:
            exactly(form, client_secret=None, **common)
            accepted = form["client_secret"] in self.client_secrets
        if not accepted:
            return Answer(
                401, {"error": "invalid_client", "error_description": "AADSTS7000215: ...", "error_codes": [7000215]}
            )
        token = f"eyJ.{secrets.token_urlsafe(200)}.{secrets.token_urlsafe(60)}"
        self._tokens[token] = (RESOURCE, now() + self.life)
        self._issued.add(token)
        return Answer(
            200, {"token_type": "Bearer", "expires_in": self.life, "ext_expires_in": self.life, "access_token": token}
        )

    def _accepts(self, assertion: str) -> bool:
        signed, _, signature = assertion.rpartition(".")
        claims = json.loads(_decoded(signed.split(".")[1]))
        try:
            self._cluster.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        stated = (claims["iss"], claims["sub"], claims["aud"])
        return stated == (self.issuer, self.subject, ["api://AzureADTokenExchange"]) and claims["exp"] > now()

    def _secret(self, asked: Asked) -> Answer:
        path = re.fullmatch(r"/secrets/([0-9a-zA-Z-]{1,127})", asked.url.path)
        assert path is not None, "no path of a secret, or a name that Key Vault cannot have"
        assert asked.method == "GET"
        assert not asked.body
        exactly(asked.query, **{"api-version": None})
        assert asked.query["api-version"] in _GENERALLY_AVAILABLE
        kind, _, token = asked.headers["authorization"].partition(" ")
        assert kind == "Bearer"
        assert token in self._issued, "this token was never issued"
        audience, end = self._tokens.get(token, ("", 0))
        if audience != RESOURCE or end <= now():
            return _error(401, "Unauthorized", headers={"WWW-Authenticate": self.challenge})
        name = path[1]
        if name in self.forbidden:
            return _error(403, "Forbidden", inner=self.forbidden[name])
        if name in self.disabled:
            return _error(403, "Forbidden", inner="SecretDisabled")
        if not self.secrets.get(name):
            return _error(404, "SecretNotFound")
        versions = self.secrets[name]
        return Answer(
            200,
            {
                "value": versions[-1],
                "id": f"https://lab.vault.azure.net/secrets/{name}/{len(versions):032x}",
                "attributes": {
                    "enabled": True,
                    "created": 1493938410,
                    "updated": 1493938410,
                    "recoveryLevel": "Recoverable",
                },
            },
        )


def _error(status: int, code: str, *, inner: str = "", headers: dict[str, str] | None = None) -> Answer:
    error: dict[str, object] = {"code": code, "message": "as the vendor words it"}
    if inner:
        error["innererror"] = {"code": inner}
    return Answer(status, {"error": error}, headers or {})


def _json(data: object) -> bytes:
    return json.dumps(data).encode()


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
