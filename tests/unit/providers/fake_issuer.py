"""What the tests of mode oauth2 share: a profile, its secrets and keys, and an issuer that answers from a list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, Credential
from credbroker.errors import SecretNotFound
from credbroker.profile import CatalogProfile, CredentialSettings
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 23, 2, 0, 0, tzinfo=UTC)
URL = "https://idp.example/oauth/token"
REQUEST = CredentialRequest(kind="catalog", profile="production")
SECRET = "canary-secret-of-a-good-length"


def reference(name: str, **keys: str) -> SecretReference:
    return SecretReference(secret_ref=name, **keys)  # type: ignore[arg-type]


SETTINGS = CredentialSettings(
    mode="oauth2", token_url=URL, client_id="svc", client_secret=reference("oauth", next="oauth-next"), scope="read"
)


class Secrets:
    """Secrets that may be replaced while a test runs; a list is read off, one at each look."""

    def __init__(self, secrets: Mapping[str, str | list[str]]) -> None:
        self.secrets = dict(secrets)

    def resolve(self, reference: SecretReference) -> SecretStr:
        found = self.secrets.get(reference.secret_ref)
        if found is None:
            raise SecretNotFound(f"secret {reference.secret_ref!r} not found")
        if isinstance(found, list):
            return SecretStr(found.pop(0) if len(found) > 1 else found[0])
        return SecretStr(found)


class Files:
    """An environment that has these files and nothing else."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)

    def variable(self, name: str) -> None:
        return None

    def read(self, path: str, *, within: str | None = None) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path].encode()

    def names(self, path: str) -> None:
        return None


@dataclass
class Issuer:
    """One provider, asked with these settings. ``sent`` is what arrived."""

    settings: CredentialSettings = SETTINGS
    secrets: Mapping[str, str | list[str]] = field(default_factory=lambda: {"oauth": SECRET})
    files: Mapping[str, str] = field(default_factory=dict)
    get: Callable[[CredentialRequest], Credential] | None = None
    invalidate: Callable[[CredentialRequest, Credential], bool] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sent: list[HttpRequest] = field(default_factory=list)

    def context(self, *answers: Any) -> Context:
        http = FakeHttp(*(answers or (answer(),)))
        self.sent = http.requests
        more = {name: one for name in ("get", "invalidate") if (one := getattr(self, name)) is not None}
        return Context(
            clock=ManualClock(NOW), http=http, environment=Files(self.files), profile=self.profile,
            secrets=Secrets(self.secrets), **more,
        )  # type: ignore[arg-type]  # fmt: skip

    @property
    def profile(self) -> CatalogProfile:
        return replace(CatalogProfile(name="production", credentials=self.settings), **self.options)

    def issue(self, *answers: Any, request: CredentialRequest = REQUEST) -> AccessToken:
        return OAuth2Provider().issue(request, self.context(*answers))

    def forms(self) -> list[list[tuple[str, str]]]:
        return [form(request) for request in self.sent]


def answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    content = {"access_token": "tok", "token_type": "Bearer", "expires_in": 3600} if body is None else body
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, raw, sent=NOW, received=NOW + timedelta(milliseconds=20))


def refusal(code: str, status: int = 400, **headers: str) -> HttpResponse:
    return answer(status, {"error": code}, **headers)


def form(request: HttpRequest) -> list[tuple[str, str]]:
    return parse_qsl((request.body or b"").decode(), strict_parsing=True)


@cache
def rsa_key(bits: int = 2048, which: int = 0) -> str:
    return pem(rsa.generate_private_key(65537, bits))


@cache
def ec_key(curve: str = "secp256r1", which: int = 0) -> str:
    curves = {one.name: one for one in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1())}
    return pem(ec.generate_private_key(curves[curve]))


def pem(key: Any, password: bytes | None = None) -> str:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode())


def loaded(text: str) -> Any:
    return serialization.load_pem_private_key(text.encode(), None)


def public(text: str) -> str:
    key = loaded(text).public_key()
    return str(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode())


@cache
def certificate(key: str) -> str:
    """A certificate of its own making for ``key``."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pipeline")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(loaded(key).public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=1))
    signed = made.not_valid_after(NOW + timedelta(days=1)).sign(loaded(key), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
