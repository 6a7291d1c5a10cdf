"""An Iceberg REST catalog answered by hand, the flight that asks it, and the reply that it gives where nothing is amiss."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from credbroker.context import Connection, Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, Credential, S3Credentials, TableCredentials
from credbroker.location import Location
from credbroker.profile import CatalogProfile, CredentialSettings, StorageProfile
from credbroker.providers._iceberg_rest import CREDENTIALS_ROUTE
from credbroker.providers.catalog import CatalogProvider
from credbroker.request import Access, CredentialRequest
from credbroker.secrets.reference import SecretReference

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
ENDS = NOW + timedelta(hours=1)
URI = "https://catalog.example/api"
TABLE = "s3://lake/wh/orders"
REQUEST = CredentialRequest(
    kind="table",
    profile="production",
    table=("sales", "eu", "orders"),
    access=Access.READ,
    principal="svc",
    actor="ana",
    run_id="42",
)
AT_TABLE = "/v1/wh/namespaces/sales%1Feu/tables/orders"
KEYS = {
    "s3.access-key-id": "ASIAMADEUP",
    "s3.secret-access-key": "vended-secret",
    "s3.session-token": "vended-token",
    "s3.session-token-expires-at-ms": str(int(ENDS.timestamp() * 1000)),
    "s3.region": "eu-west-1",
    "client.refresh-credentials-endpoint": f"{AT_TABLE.removeprefix('/')}/credentials",
}


FROM_STORAGE = S3Credentials("AKIASTORAGE", SecretStr("storage-secret"), expires_at=ENDS)


def vended(prefix: str = TABLE, **changes: str | None) -> dict[str, Any]:
    config = {**KEYS, **{f"s3.{name}": value for name, value in changes.items()}}
    return {"prefix": prefix, "config": {name: value for name, value in config.items() if value is not None}}


def loaded(
    *credentials: dict[str, Any], location: str = TABLE, config: dict[str, str] | None = None, **properties: str
) -> dict[str, Any]:
    metadata = {"location": location, "properties": properties}
    return {"metadata": metadata, "config": config or {}, "storage-credentials": list(credentials)}


@dataclass
class FakeCatalog:
    """Answers by path; each answer is a body, a status, or both."""

    table: object = field(default_factory=lambda: loaded(vended()))
    credentials: object = None
    config: object = None
    at: str = AT_TABLE
    refuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[HttpRequest] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        self.seen.append(request)
        self.options.append({"timeout": timeout, "allow_insecure": allow_insecure, "on_connection": on_connection})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token in self.refuses:
            return self._answer((self.refuses[token], b"canary"))
        path = request.url.removeprefix(URI).partition("?")[0]
        if path == "/v1/config":
            routes = [CREDENTIALS_ROUTE] if self.credentials is not None else []
            usual = {"overrides": {"prefix": "wh", "uri": "https://evil.example"}, "endpoints": routes}
            return self._answer(usual if self.config is None else self.config)
        if path == f"{self.at}/credentials":
            return self._answer(self.credentials)
        assert path == self.at
        return self._answer(self.table)

    def _answer(self, answer: Any) -> HttpResponse:
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return HttpResponse(status, self.headers, raw, NOW, NOW + timedelta(milliseconds=20))

    @property
    def paths(self) -> list[str]:
        return [request.url.removeprefix(URI) for request in self.seen]


@dataclass
class Flight:
    """What the broker does for a flight: other profiles' credentials, and invalidation."""

    tokens: list[str] = field(default_factory=lambda: ["token-1", "token-2"])
    storage: Credential | None = None
    allows_invalidate: bool = True
    asked: list[CredentialRequest] = field(default_factory=list)
    invalidated: list[tuple[CredentialRequest, str]] = field(default_factory=list)

    def get(self, request: CredentialRequest) -> Credential:
        self.asked.append(request)
        if request.kind == "storage":
            assert self.storage is not None
            return self.storage
        return AccessToken(SecretStr(self.tokens.pop(0)), expires_at=ENDS)

    def invalidate(self, request: CredentialRequest, value: Credential) -> bool:
        assert isinstance(value, AccessToken)
        self.invalidated.append((request, value.value.get_secret_value()))
        return self.allows_invalidate


class FakeSecrets:
    def __init__(self, **values: str) -> None:
        self.values = values

    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(self.values[reference.secret_ref])


def storage(name: str = "lake", *locations: str, **settings: Any) -> StorageProfile:
    return StorageProfile(name=name, locations=tuple(Location.parse(uri) for uri in locations), **settings)


def profile(**settings: Any) -> CatalogProfile:
    given: dict[str, Any] = {
        "name": "production",
        "uri": URI,
        "warehouse": "s3://wh",
        "where": "platform.yaml:3",
        "credentials": CredentialSettings(mode="oauth2"),
        **settings,
    }
    return CatalogProfile(**given)


def issue(
    catalog: FakeCatalog | None = None,
    of: CatalogProfile | None = None,
    flight: Flight | None = None,
    request: CredentialRequest = REQUEST,
    secrets: FakeSecrets | None = None,
) -> TableCredentials:
    flight = flight or Flight()
    context = Context(
        http=catalog or FakeCatalog(),
        secrets=secrets or FakeSecrets(),
        profile=of or profile(),
        remaining=lambda: 7.5,
        get=flight.get,
        invalidate=flight.invalidate,
        on_connection=print,
    )
    return CatalogProvider().issue(request, context)


def s3(value: TableCredentials, uri: str = TABLE) -> S3Credentials:
    found = value.for_location(uri)
    assert isinstance(found, S3Credentials)
    return found
