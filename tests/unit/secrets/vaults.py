"""What the tests of the vault share: its answers, its settings, and a world around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.secrets.backend import Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
ADDRESS = "https://vault.internal:8200"
REFERENCE = SecretReference(secret_ref="lake-key")
TOKEN = BackendLogin(method="token", token=SecretReference(secret_ref="vault-token"))
APPROLE = BackendLogin(method="approle", role_id="role-1", secret_id=SecretReference(secret_ref="secret-id"))
KUBERNETES = BackendLogin(method="kubernetes", role="pipelines", path="/token")
WEB = BackendLogin(method="jwt", role="pipelines", jwt=SecretReference(secret_ref="web"))


class Place:
    """A backend before the vault: what it needs itself."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = {name.replace("_", "-"): value for name, value in secrets.items()}
        self.looked: list[str] = []

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        self.looked.append(reference.secret_ref)
        value = self.secrets.get(reference.secret_ref)
        return Lookup("place", None if value is None else SecretStr(value))


class Files:
    """An environment of files alone."""

    def __init__(self, files: Mapping[str, bytes | OSError]) -> None:
        self.files = dict(files)

    def variable(self, name: str) -> None:
        return None

    def read(self, path: str, *, within: str | None = None) -> bytes:
        content = self.files.get(path, FileNotFoundError(path))
        if isinstance(content, OSError):
            raise content
        return content

    def names(self, path: str) -> None:
        return None


def settings(auth: BackendLogin = TOKEN, **fields: Any) -> BackendSettings:
    return BackendSettings(
        **{
            "type": "vault",
            "address": ADDRESS,
            "mount": "kv",
            "auth": auth,
            "where": "p.yaml:3: secret_backends[1]",
            **fields,
        }
    )


def place() -> Place:
    return Place(vault_token="hvs.given", secret_id="sid-1")


def world(http: FakeHttp, *, clock: ManualClock | None = None, **files: bytes | OSError) -> Context:
    return Context(http=http, clock=clock or ManualClock(), environment=Files({f"/{k}": v for k, v in files.items()}))


def answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW, NOW)


def kv(**data: object) -> HttpResponse:
    return answer(body={"data": {"data": data, "metadata": {"version": 1}}})


def logged_in(token: str = "hvs.login", lease_duration: object = 600) -> HttpResponse:
    return answer(body={"auth": {"client_token": token, "lease_duration": lease_duration}})


def refused(status: int = 403) -> HttpResponse:
    return answer(status, {"errors": ["permission denied canary"]})


def token_of(request: HttpRequest) -> str | None:
    return request.headers.get("x-vault-token")


def body_of(request: HttpRequest) -> Any:
    return json.loads(request.body or b"null")
