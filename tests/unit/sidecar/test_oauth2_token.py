from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from pydantic import SecretStr
from pyiceberg.catalog.rest.auth import LegacyOAuth2AuthManager, OAuth2AuthManager
from pyiceberg.exceptions import OAuthError as PyIcebergError
from pyiceberg.utils.config import Config
from tests.unit.sidecar.protocol_server import BINDING, ENDS, TOKEN, ProtocolServer, ask, place

from credbroker.credentials import AccessToken
from credbroker.request import CredentialRequest
from credbroker.sidecar.protocol import Refusal
from credbroker.sidecar.protocols.oauth2_token import PROTOCOL
from credbroker.wire.token import ACCESS_TOKEN_TYPE

(ROUTE,) = PROTOCOL.routes
ROLE = "PRINCIPAL_ROLE:analyst"
GRANTED = CredentialRequest("catalog", "production", scopes=frozenset({ROLE}))
VALUE = AccessToken(SecretStr("eyJ.catalog.token"), scopes=frozenset({ROLE}))
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer("oauth2-token", VALUE, GRANTED) as running:
        yield running


def _url(server: ProtocolServer) -> str:
    return server.place.url("oauth2-token")


def _basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def _refused(form: dict[str, str], headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    refused = ROUTE.check(ask(form=form, headers=headers, granted=GRANTED))
    assert refused is not None
    told = PROTOCOL.refusal(refused)
    return told.status, json.loads(told.body)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("scope", [None, ROLE])
def test_authlib_takes_it(server: ProtocolServer, method: str, scope: str | None) -> None:
    with OAuth2Session(BINDING, TOKEN, token_endpoint_auth_method=method, scope=scope) as session:
        token = session.fetch_token(_url(server), grant_type="client_credentials")
    assert token["access_token"] == "eyJ.catalog.token"
    assert token["token_type"] == "Bearer"
    assert token["scope"] == ROLE
    assert 3590 < token["expires_in"] <= 3600


def test_authlib_reads_the_refusal(server: ProtocolServer) -> None:
    with OAuth2Session(BINDING, "another") as session, pytest.raises(OAuthError, match="invalid_client"):
        session.fetch_token(_url(server), grant_type="client_credentials")
    with (
        OAuth2Session(BINDING, TOKEN, scope="PRINCIPAL_ROLE:admin") as session,
        pytest.raises(OAuthError, match="invalid_scope"),
    ):
        session.fetch_token(_url(server), grant_type="client_credentials")


@pytest.mark.parametrize("credential", [f"{BINDING}:{TOKEN}", TOKEN])
def test_pyiceberg_takes_it_by_its_credential(server: ProtocolServer, credential: str) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer expired"  # what it has, it sends along
        manager = LegacyOAuth2AuthManager(session, _url(server), credential, optional_oauth_params={"scope": "catalog"})
    assert manager.auth_header() == "Bearer eyJ.catalog.token"
    assert server.seen[0].headers["authorization"] == "Bearer expired"


def test_pyiceberg_takes_it_by_its_oauth2_manager(server: ProtocolServer) -> None:
    manager = OAuth2AuthManager(BINDING, TOKEN, _url(server), scope="catalog")
    assert manager.auth_header() == "Bearer eyJ.catalog.token"


def test_pyiceberg_reads_the_refusal(server: ProtocolServer) -> None:
    with requests.Session() as session:
        with pytest.raises(PyIcebergError, match="invalid_client: the token"):
            LegacyOAuth2AuthManager(session, _url(server), f"{BINDING}:another")
        with pytest.raises(PyIcebergError, match="invalid_scope"):
            LegacyOAuth2AuthManager(session, _url(server), TOKEN, optional_oauth_params={"scope": "PRINCIPAL_ROLE:admin"})


def test_pyiceberg_reads_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = PROTOCOL.environment(place())
    for name, value in variables.items():
        monkeypatch.setenv(name, value.get_secret_value() if isinstance(value, SecretStr) else value)
    assert Config().get_catalog_config(BINDING) == {
        "oauth2-server-uri": "http://127.0.0.1:8642/lake-read/oauth2-token",
        "credential": f"{BINDING}:{TOKEN}",
    }
    assert TOKEN not in repr(variables)


def test_a_name_that_no_variable_can_carry_gets_none() -> None:
    assert PROTOCOL.environment(place(binding="lake__read")) == {}


def test_duckdb_and_java_ask_for_what_they_always_ask_for() -> None:
    form = {"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ALL"}
    headers = _basic(f"{BINDING}:{TOKEN}")  # DuckDB: raw
    assert ROUTE.token is not None
    assert ROUTE.token(headers, form) == TOKEN
    assert ROUTE.check(ask(form=form, headers=headers, granted=GRANTED)) is None
    form = {"grant_type": "client_credentials", "scope": "catalog", "client_id": BINDING, "client_secret": TOKEN}  # Java
    assert ROUTE.token({}, form) == TOKEN
    assert ROUTE.check(ask(form=form, granted=GRANTED)) is None


def test_the_answer_is_kept_by_no_cache() -> None:
    assert ROUTE.answer is not None
    told = ROUTE.answer(ask(), VALUE, ENDS)
    assert json.loads(told.body) == {
        "access_token": "eyJ.catalog.token",
        "token_type": "Bearer",
        "expires_in": 3000,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": ROLE,
    }
    assert set(told.headers) == {("cache-control", "no-store"), ("pragma", "no-cache")}


def test_a_scope_that_the_issuer_did_not_state_is_not_made_up() -> None:
    assert ROUTE.answer is not None
    assert "scope" not in json.loads(ROUTE.answer(ask(), AccessToken(SecretStr("t"), token_type="bearer"), None).body)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"grant_type": EXCHANGE, "subject_token": "x"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": f"{ROLE} admin"}, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ALL admin"}, "invalid_scope"),
    ],
)
def test_what_is_not_granted_is_refused_in_the_words_of_the_rfc(form: dict[str, str], error: str) -> None:
    status, told = _refused(form)
    assert (status, told["error"]) == (400, error)


def test_an_exchange_is_granted_to_who_shows_the_clients_secret_and_to_nobody_else(server: ProtocolServer) -> None:
    # As Java's Iceberg before 1.10 renews: first with the catalog's token as its bearer, at last with its client's secret.
    form = {"grant_type": EXCHANGE, "subject_token": "eyJ.old", "subject_token_type": ACCESS_TOKEN_TYPE}
    by_bearer = requests.post(_url(server), data=form, headers={"Authorization": "Bearer eyJ.old"}, timeout=5)
    assert by_bearer.status_code in (400, 401)
    by_secret = requests.post(_url(server), data=form, auth=(server.place.binding, TOKEN), timeout=5)
    assert by_secret.json()["issued_token_type"] == ACCESS_TOKEN_TYPE
    assert by_secret.json()["access_token"] == "eyJ.catalog.token"


def test_any_scope_may_be_asked_where_none_is_known() -> None:
    form = {"grant_type": "client_credentials", "scope": "anything"}
    for granted in (None, CredentialRequest("catalog", "production")):
        assert ROUTE.check(ask(form=form, granted=granted)) is None


def test_two_ways_to_authenticate_in_one_request_are_refused() -> None:
    form = {"grant_type": "client_credentials", "client_secret": "other"}
    assert _refused(form, _basic(f"{BINDING}:{TOKEN}"))[1]["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"client_id": "other", "client_secret": TOKEN}, {}),
        ({}, _basic(f"other:{TOKEN}")),
        ({"client_id": "other"}, _basic(f"{BINDING}:{TOKEN}")),
    ],
)
def test_a_client_of_another_name_is_refused(form: dict[str, str], headers: dict[str, str]) -> None:
    status, told = _refused({"grant_type": "client_credentials", **form}, headers)
    assert (status, told["error"]) == (401, "invalid_client")


def test_a_client_without_a_name_is_not() -> None:
    for form, headers in (({"client_secret": TOKEN}, {}), ({}, _basic(f":{TOKEN}"))):
        assert ROUTE.check(ask(form={"grant_type": "client_credentials", **form}, headers=headers)) is None


@pytest.mark.parametrize(
    ("headers", "form", "found"),
    [
        ({}, {}, None),
        ({"authorization": f"Bearer {TOKEN}"}, {}, None),
        ({"authorization": "Basic ????"}, {"client_secret": TOKEN}, TOKEN),
        (_basic(BINDING), {}, None),
        (_basic(f"{BINDING}:"), {}, None),
        (_basic(f"{BINDING}:caf\xe9"), {}, None),
        (_basic(f"{BINDING}:%00"), {}, None),
        ({}, {"client_secret": ""}, None),
        ({}, {"client_secret": "a" * 20_000}, None),
    ],
)
def test_garbage_is_no_token(headers: dict[str, str], form: dict[str, str], found: str | None) -> None:
    assert ROUTE.token is not None
    assert ROUTE.token(headers, form) == found


@pytest.mark.parametrize(
    ("status", "told_status", "error"),
    [
        (400, 400, "invalid_request"),
        (401, 401, "invalid_client"),
        (403, 400, "unauthorized_client"),
        (415, 415, "invalid_request"),
        (429, 429, "temporarily_unavailable"),
        (500, 500, "temporarily_unavailable"),
        (503, 503, "temporarily_unavailable"),
    ],
)
def test_each_status_has_its_error(status: int, told_status: int, error: str) -> None:
    told = PROTOCOL.refusal(Refusal(status, "TooBad", 'the "issuer" \\ is aw\xe4y\n'))
    assert told.status == told_status
    assert json.loads(told.body) == {"error": error, "error_description": "the 'issuer' ' is aw'y'"}
    assert (("www-authenticate", 'Basic realm="credbroker"') in told.headers) is (status == 401)
