from __future__ import annotations

import json
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import pytest

from credbroker.context import Context, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.secrets.azure import KeyVaultBackend
from credbroker.secrets.backend import Lookup, lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
CANARY = "canary-secret"
TOKEN = "eyJ.canary.token"
LOGIN = BackendLogin(
    method="client_secret",
    tenant_id="contoso.onmicrosoft.com",
    client_id=SecretReference(secret_ref="app", field="id"),
    client_secret=SecretReference(secret_ref="app", field="secret", next="app-next"),
)
REFERENCE = SecretReference(secret_ref="polaris")


class Earlier:
    """The backends before it in the list."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        text = self.secrets.get(reference.secret_ref)
        return Lookup("earlier") if text is None else lookup("earlier", text, reference.field)


def _settings(address: str = "https://lab.vault.azure.net", **changes: Any) -> BackendSettings:
    return BackendSettings(**{"type": "azure", "address": address, "auth": LOGIN, **changes})


def _answer(status: int = 200, body: object = None) -> HttpResponse:
    body = {"value": CANARY, "id": "x", "attributes": {"enabled": True}} if body is None else body
    return HttpResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW, NOW)


def _issued() -> HttpResponse:
    return _answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})


def _error(status: int, code: str, inner: object = None, key: str = "innererror") -> HttpResponse:
    return _answer(status, {"error": {"code": code, "message": CANARY, key: {"code": inner}}})


def _look(
    *answers: HttpResponse | CredbrokerError, reference: SecretReference = REFERENCE, **changes: Any
) -> tuple[Lookup, FakeHttp]:
    http = FakeHttp(_issued(), *answers)
    earlier = Earlier(app=json.dumps({"id": "client", "secret": "canary-client-secret"}))
    backend = KeyVaultBackend(_settings(**changes), (earlier,))
    return backend.look(reference, Context(http=http, clock=ManualClock(NOW))), http


def _shown(trace: TracebackType | None) -> str:
    frames = []
    while trace is not None:
        if "credbroker/secrets" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


@pytest.mark.parametrize(
    ("address", "authority", "resource"),
    [
        ("https://lab.vault.azure.net", "https://login.microsoftonline.com", "https://vault.azure.net"),
        ("https://LAB.vault.azure.net:443/", "https://login.microsoftonline.com", "https://vault.azure.net"),
        ("https://lab.vault.azure.cn", "https://login.partner.microsoftonline.cn", "https://vault.azure.cn"),
        ("https://lab.vault.usgovcloudapi.net", "https://login.microsoftonline.us", "https://vault.usgovcloudapi.net"),
        ("http://127.0.0.1:4321", "http://127.0.0.1:4321", "https://vault.azure.net"),
    ],
)
def test_the_vaults_own_name_says_whom_to_ask_for_a_token_and_for_what(address: str, authority: str, resource: str) -> None:
    found, http = _look(_answer(), address=address, prefix="data-")
    assert found.secret is not None
    assert found.secret.get_secret_value() == CANARY
    login, look = http.requests
    assert login.url == f"{authority}/contoso.onmicrosoft.com/oauth2/v2.0/token"
    form = parse_qs((login.body or b"").decode())
    assert form["scope"] == [f"{resource}/.default"]
    assert (form["client_id"], form["client_secret"]) == (["client"], ["canary-client-secret"])
    assert look.url == f"{address.lower().rstrip('/')}/secrets/data-polaris?api-version=7.4"
    assert (look.method, look.body) == ("GET", None)
    assert look.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "lab.vault.azure.net",
        "http://lab.vault.azure.net",
        "https://vault.azure.net",
        "https://lab.vault.azure.net.collector.example",
        "https://lab.collector.example/.vault.azure.net",
        "https://a.b.vault.azure.net",
        "https://labvault.azure.net",
        "https://lab.vault.azure.net:8443",
        "https://lab.vault.azure.net/secrets",
        "https://x@lab.vault.azure.net",
        "https://collector.example#.vault.azure.net",
        "https://collector.example\\.vault.azure.net",
    ],
)
def test_an_address_that_is_no_vaults_is_refused_when_the_backend_is_made(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"p\.yaml:3: secret_backends\[1\]: address "):
        KeyVaultBackend(_settings(address, where="p.yaml:3: secret_backends[1]"), ())


@pytest.mark.parametrize("auth", [None, BackendLogin(method="client_secret"), BackendLogin(method="x", tenant_id="t")])
def test_without_tenant_and_client_there_is_no_backend(auth: BackendLogin | None) -> None:
    with pytest.raises(ConfigurationError, match="auth needs tenant_id and client_id"):
        KeyVaultBackend(_settings(auth=auth), ())


@pytest.mark.parametrize("name", ["po_laris", "x" * 128])
def test_a_name_that_cannot_be_is_absent_and_not_asked_for(name: str) -> None:
    found, http = _look(reference=SecretReference(secret_ref=name))
    assert found.secret is None
    assert "no underscore" in (found.reason or "")
    assert http.requests == []


def test_what_is_not_there_is_absent() -> None:
    assert str(_look(_error(404, "SecretNotFound"))[0]) == "secret 'polaris' of the vault 'lab.vault.azure.net'"


@pytest.mark.parametrize("key", ["innererror", "innerError"])
def test_what_is_disabled_is_absent(key: str) -> None:
    found, _ = _look(_error(403, "Forbidden", "SecretDisabled", key))
    assert (found.secret, found.reason) == (None, "it is disabled")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (_error(403, "Forbidden", "ForbiddenByRbac"), IssueDenied, "'Key Vault Secrets User'"),
        (_error(403, "Forbidden", "AccessDenied"), IssueDenied, "'Key Vault Secrets User'"),
        (_error(403, "Forbidden", CANARY), IssueDenied, "'Key Vault Secrets User'"),
        (_error(403, "Forbidden", "ForbiddenByFirewall"), IssueDenied, "network rules"),
        (_error(403, "Forbidden", "ForbiddenByConnection"), IssueDenied, "network rules"),
        (_answer(403, CANARY.encode()), MalformedResponse, "HTTP 403, which is no answer of Key Vault"),
        (_answer(404, CANARY.encode()), MalformedResponse, "HTTP 404, which is no answer of Key Vault"),
        (_error(404, "ResourceNotFound"), MalformedResponse, "HTTP 404"),
        (_error(400, "BadParameter"), MalformedResponse, "HTTP 400"),
        (_error(429, "Throttled"), IssuerUnavailable, "HTTP 429"),
        (_error(500, "InternalServerError"), IssuerUnavailable, "HTTP 500"),
        (_answer(200, CANARY.encode()), MalformedResponse, "no value"),
        (_answer(200, {"value": [CANARY]}), MalformedResponse, "no value"),
    ],
)
def test_what_cannot_tell_raises_without_what_was_received(
    answer: HttpResponse, kind: type[CredbrokerError], text: str
) -> None:
    with pytest.raises(kind, match=text) as caught:
        _look(answer)
    assert CANARY not in str(caught.value)
    shown = _shown(caught.tb)
    assert CANARY not in shown
    assert TOKEN not in shown
    # What we log in with could not be had: what is held stays in use, as for a wrong secret.
    assert not getattr(caught.value, "grant_denied", False)


def test_an_empty_value_is_no_secret() -> None:
    found, _ = _look(_answer(200, {"value": ""}))
    assert (found.secret, found.reason) == (None, "it is empty")


def test_a_refused_token_is_replaced_once() -> None:
    found, http = _look(_answer(401, b""), _issued(), _answer())
    assert found.secret is not None
    assert [request.method for request in http.requests] == ["POST", "GET", "POST", "GET"]
    with pytest.raises(IssueDenied, match="HTTP 401 for a new token too: look at tenant_id"):
        _look(_answer(401, b""), _issued(), _answer(401, b""), _issued(), _answer())


def test_a_login_that_is_refused_names_no_secret_and_asks_no_vault() -> None:
    http = FakeHttp(_answer(401, {"error": "invalid_client", "error_description": "canary-client-secret"}))
    earlier = Earlier(app=json.dumps({"id": "client", "secret": "canary-client-secret"}))
    with pytest.raises(IssueDenied, match="client secret") as caught:
        KeyVaultBackend(_settings(), (earlier,)).look(REFERENCE, Context(http=http, clock=ManualClock(NOW)))
    assert "canary" not in str(caught.value)
    assert "canary" not in _shown(caught.tb)
    assert len(http.requests) == 1


def test_a_managed_identity_logs_in_without_any_secret() -> None:
    ends = str(int(NOW.timestamp()) + 3600)
    http = FakeHttp(_answer(200, {"access_token": TOKEN, "expires_on": ends}), _answer())
    login = BackendLogin(method="managed_identity", client_id="5c1d2b3a")
    backend = KeyVaultBackend(_settings(auth=login))
    found = backend.look(REFERENCE, Context(http=http, clock=ManualClock(NOW)))
    assert found.secret is not None
    login_request, look = http.requests
    assert login_request.url == (
        "http://169.254.169.254/metadata/identity/oauth2/token"
        "?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&client_id=5c1d2b3a"
    )
    assert look.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_managed_identity_that_is_not_assigned_makes_nobody_ask_the_next_place() -> None:
    http = FakeHttp(_answer(400, {"error": "invalid_request"}))
    backend = KeyVaultBackend(_settings(auth=BackendLogin(method="managed_identity")))
    with pytest.raises(ConfigurationError, match="no such identity is assigned here"):
        backend.look(REFERENCE, Context(http=http, clock=ManualClock(NOW)))
