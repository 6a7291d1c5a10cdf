"""Both forms of a managed identity's endpoint, App Service's and the instance metadata service's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
from pydantic import SecretStr
from tests.unit.sidecar.protocol_server import ENDS, NOW, TOKEN, ProtocolServer, ask, place

from credbroker.credentials import AccessToken
from credbroker.request import CredentialRequest
from credbroker.sidecar.protocol import Refusal
from credbroker.sidecar.protocols import azure_app_service, azure_imds

STORAGE = "https://storage.azure.com"
VALUE = AccessToken(SecretStr("eyJ.storage.token"))
GRANTED = CredentialRequest("compute", "fabric", scopes=frozenset({f"{STORAGE}/.default"}))
(APP_SERVICE,) = azure_app_service.PROTOCOL.routes
(INSTANCE,) = azure_imds.PROTOCOL.routes


@pytest.fixture(params=["azure-app-service", "azure-imds"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with ProtocolServer(request.param, VALUE, GRANTED) as running:
        for name, value in running.protocol.environment(running.place).items():
            monkeypatch.setenv(name, value.get_secret_value() if isinstance(value, SecretStr) else value)
        yield running


def test_azure_identity_takes_it(server: ProtocolServer) -> None:
    with ManagedIdentityCredential() as credential:
        token = credential.get_token(f"{STORAGE}/.default")
    assert token.token == "eyJ.storage.token"
    assert 3540 < token.expires_on - datetime.now(UTC).timestamp() <= 3600
    assert server.seen[0].query["resource"] == STORAGE


def test_azure_identity_gets_no_token_for_another_resource(server: ProtocolServer) -> None:
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises((ClientAuthenticationError, CredentialUnavailableError), match="is for another resource"),
    ):
        credential.get_token("https://vault.azure.net/.default")


def test_app_service_tells_the_end_as_a_text() -> None:
    assert APP_SERVICE.answer is not None
    told = json.loads(APP_SERVICE.answer(ask({"resource": STORAGE, "client_id": "0-1"}), VALUE, ENDS).body)
    assert told == {
        "access_token": "eyJ.storage.token",
        "expires_on": str(int(NOW.timestamp()) + 3000),
        "resource": STORAGE,
        "token_type": "Bearer",
        "client_id": "0-1",
    }


def test_the_instance_tells_each_number_as_a_text() -> None:
    assert INSTANCE.answer is not None
    told = json.loads(INSTANCE.answer(ask({"resource": f"{STORAGE}/"}), VALUE, ENDS).body)
    assert told == {
        "access_token": "eyJ.storage.token",
        "client_id": "",
        "expires_in": "3000",
        "ext_expires_in": "3000",
        "expires_on": str(int(NOW.timestamp()) + 3000),
        "not_before": str(int(NOW.timestamp())),
        "resource": f"{STORAGE}/",
        "token_type": "Bearer",
    }


@pytest.mark.parametrize(
    "query",
    [
        {"resource": STORAGE},
        {"resource": f"{STORAGE}/"},
        {"resource": f"{STORAGE}/.default"},
        {"resource": "https://Storage.Azure.com"},
        {"scope": f"{STORAGE}/.default"},
        {"scope": f"{STORAGE}//.default"},
    ],
)
def test_one_resource_may_be_written_in_many_ways(query: dict[str, str]) -> None:
    assert APP_SERVICE.check(ask(query, granted=GRANTED)) is None


@pytest.mark.parametrize(
    "resource",
    ["https://vault.azure.net", "https:", "https://storage.azure.com.example", "https://storage.azure.com/x", "storage"],
)
def test_another_resource_is_refused(resource: str) -> None:
    for route, headers in ((APP_SERVICE, {}), (INSTANCE, {"metadata": "true"})):
        refused = route.check(ask({"resource": resource}, headers, granted=GRANTED))
        assert refused is not None
        assert (refused.status, refused.code) == (400, "InvalidResource")


def test_any_resource_may_be_asked_where_no_scope_is_known() -> None:
    for granted in (None, CredentialRequest("compute", "fabric")):
        assert APP_SERVICE.check(ask({"resource": "https://vault.azure.net"}, granted=granted)) is None


def test_a_resource_is_needed() -> None:
    refused = APP_SERVICE.check(ask(granted=GRANTED))
    assert refused is not None
    assert refused.status == 400
    assert "resource" in refused.message


@pytest.mark.parametrize("headers", [{}, {"metadata": "false"}, {"metadata": ""}])
def test_the_instance_needs_its_header(headers: dict[str, str]) -> None:
    refused = INSTANCE.check(ask({"resource": STORAGE}, headers))
    assert refused is not None
    assert refused.status == 400
    told = azure_imds.PROTOCOL.refusal(refused)
    assert json.loads(told.body) == {"error": "invalid_request", "error_description": refused.message}


def test_an_error_of_the_instance_has_its_words() -> None:
    refused = Refusal(400, "InvalidResource", "the token of this binding is for another resource")
    told = json.loads(azure_imds.PROTOCOL.refusal(refused).body)
    assert told == {"error": "invalid_resource", "error_description": "the token of this binding is for another resource"}


@pytest.mark.parametrize(
    ("header", "found"), [(TOKEN, TOKEN), ("", None), ("caf\xe9", None), ("a b", None), ("a" * 20_000, None)]
)
def test_app_service_finds_the_token_in_its_own_header(header: str, found: str | None) -> None:
    assert APP_SERVICE.token is not None
    assert APP_SERVICE.token({"x-identity-header": header, "authorization": "Bearer other"}, {}) == found
    assert APP_SERVICE.token({}, {}) is None


def test_the_instance_has_no_place_for_a_token() -> None:
    assert INSTANCE.token is None


def test_the_variables() -> None:
    variables = azure_app_service.PROTOCOL.environment(place())
    assert variables["IDENTITY_ENDPOINT"] == "http://127.0.0.1:8642/lake-read/azure-app-service"
    assert variables["IDENTITY_HEADER"] == SecretStr(TOKEN)
    assert azure_imds.PROTOCOL.environment(place()) == {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:8642/lake-read/azure-imds"
    }
