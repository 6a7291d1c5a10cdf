"""Microsoft Entra's token endpoint, and one Key Vault. They cannot be run here, so each request is checked.

- The token: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow#get-a-token
- Its federated form: https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation
- Its form with a certificate: https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials
- The secret: https://learn.microsoft.com/en-us/rest/api/keyvault/secrets/get-secret/get-secret
- Errors: https://learn.microsoft.com/en-us/azure/key-vault/general/rest-error-codes
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.servers.strict import Answer, Asked, StrictServer, exactly, now, rsa_key

if TYPE_CHECKING:
    from cryptography import x509

RESOURCE = "https://vault.azure.net"
LOGIN = "https://login.microsoftonline.com"
_GENERALLY_AVAILABLE = ("7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6")
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_NAMES_OF_TENANTS = re.compile(r"/([0-9A-Za-z][0-9A-Za-z.-]*)/oauth2/v2\.0/token")


class EntraTokens(StrictServer):
    """The token endpoint of one tenant with one application, by secret, certificate and federated credential."""

    tenant = "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42"
    client_id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    issuer = "https://oidc.cluster.example"
    subject = "system:serviceaccount:data:pipeline"
    resources: tuple[str, ...] = (RESOURCE,)

    def __init__(self) -> None:
        super().__init__()
        self.life = 3599
        self.client_secrets = {"app~secret+/=&%"}
        self.certificates: list[x509.Certificate] = []
        """Those that are registered with the application."""
        self.audiences = (f"{LOGIN}/{self.tenant}/oauth2/v2.0/token",)
        """Whom an assertion of a certificate may be for."""
        self.mint: Callable[[str], str] = lambda _: f"eyJ.{secrets.token_urlsafe(200)}.{secrets.token_urlsafe(60)}"
        """The token for a resource."""
        self._cluster = rsa_key()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._issued: set[str] = set()
        self._shown: set[str] = set()

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
        if asked.method == "GET" and asked.url.path.endswith("/.well-known/openid-configuration"):
            return self._configuration(asked)
        return self.token(asked)

    def _configuration(self, asked: Asked) -> Answer:
        """What Microsoft's own client asks for before it sends a secret."""
        assert asked.url.path == f"/{self.tenant}/v2.0/.well-known/openid-configuration"
        of = f"{LOGIN}/{self.tenant}"
        return Answer(
            200,
            {
                "token_endpoint": f"{of}/oauth2/v2.0/token",
                "authorization_endpoint": f"{of}/oauth2/v2.0/authorize",
                "issuer": f"{of}/v2.0",
            },
        )

    def token(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        path = _NAMES_OF_TENANTS.fullmatch(asked.url.path)
        assert path is not None, "no path of a token endpoint"
        assert not asked.url.query
        # Microsoft's own client says its charset as well.
        assert asked.headers["content-type"].partition(";")[0] == "application/x-www-form-urlencoded"
        assert "authorization" not in asked.headers
        form = {name: value for name, value in asked.form.items() if name != "client_info"}
        if path[1] != self.tenant:
            return refusal(400, "invalid_request", 90002)
        common = {"client_id": None, "grant_type": "client_credentials", "scope": None}
        if "client_assertion" in form:
            exactly(form, client_assertion=None, client_assertion_type=_JWT_BEARER, **common)
        else:
            exactly(form, client_secret=None, **common)
        if form["client_id"] != self.client_id:
            return refusal(400, "unauthorized_client", 700016)
        resource = form["scope"].removesuffix("/.default")
        if resource not in self.resources or resource == form["scope"]:
            return refusal(400, "invalid_resource", 500011)
        number = self._judged(form)
        if number:
            return refusal(401, "invalid_client", number)
        token = self.mint(resource)
        self._tokens[token] = (resource, now() + self.life)
        self._issued.add(token)
        return Answer(
            200, {"token_type": "Bearer", "expires_in": self.life, "ext_expires_in": self.life, "access_token": token}
        )

    def _judged(self, form: dict[str, str]) -> int:
        """The number of what is wrong with the proof; 0: nothing."""
        if "client_secret" in form:
            return 0 if form["client_secret"] in self.client_secrets else 7000215
        header, claims = (json.loads(_decoded(part)) for part in form["client_assertion"].split(".")[:2])
        return (
            self._by_certificate(form["client_assertion"], header, claims)
            if "x5t#S256" in header
            else self._by_federation(form["client_assertion"], claims)
        )

    def _by_certificate(self, assertion: str, header: dict[str, Any], claims: dict[str, Any]) -> int:
        assert header["typ"] == "JWT"
        assert header["alg"] in ("PS256", "RS256")
        assert {"aud", "exp", "iss", "jti", "nbf", "sub"} <= set(claims) <= {"aud", "exp", "iss", "jti", "nbf", "sub", "iat"}
        assert claims["iss"] == claims["sub"] == self.client_id
        assert claims["aud"] in self.audiences
        assert claims["exp"] - claims["nbf"] <= 600, "5 to 10 minutes at most"
        assert claims["jti"] not in self._shown, "a jti that was shown before"
        self._shown.add(claims["jti"])
        if not claims["nbf"] - 300 <= now() < claims["exp"]:
            return 700024
        for certificate in self.certificates:
            if _encoded(certificate.fingerprint(hashes.SHA256())) == header["x5t#S256"]:
                public = certificate.public_key()
                assert isinstance(public, rsa.RSAPublicKey)
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
                scheme = pss if header["alg"] == "PS256" else padding.PKCS1v15()
                return 0 if _verified(public, assertion, scheme) else 700027
        return 700027

    def _by_federation(self, assertion: str, claims: dict[str, Any]) -> int:
        if not _verified(self._cluster.public_key(), assertion, padding.PKCS1v15()):
            return 70021
        if claims["exp"] <= now():
            return 700024
        wrong = ((claims["iss"] != self.issuer, 700211), (claims["sub"] != self.subject, 700213))
        wrong += ((claims["aud"] not in ("api://AzureADTokenExchange", ["api://AzureADTokenExchange"]), 700212),)
        return next((number for fault, number in wrong if fault), 0)


def refusal(status: int, code: str, number: int) -> Answer:
    """https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes."""
    return Answer(
        status,
        {
            "error": code,
            "error_description": f"AADSTS{number}: as the vendor words it",
            "error_codes": [number],
            "timestamp": "2026-11-22 20:00:00Z",
            "trace_id": "0",
            "correlation_id": "0",
        },
    )


def _verified(key: rsa.RSAPublicKey, assertion: str, scheme: padding.PSS | padding.PKCS1v15) -> bool:
    signed, _, signature = assertion.rpartition(".")
    try:
        key.verify(_decoded(signature), signed.encode(), scheme, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


class Entra(EntraTokens):
    """The same, and one vault that the application may read, on the same origin."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, list[str]] = {}
        self.disabled: set[str] = set()
        self.forbidden: dict[str, str] = {}
        """Names that are answered with 403, and the inner code."""
        self.challenge = f'Bearer authorization="https://login.windows.net/{self.tenant}", resource="{RESOURCE}"'

    def add(self, name: str, value: str) -> None:
        """A new version, which is the latest from now on."""
        self.secrets.setdefault(name, []).append(value)

    def answer(self, asked: Asked) -> Answer:
        return self.token(asked) if asked.url.path.endswith("/token") else self._secret(asked)

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
