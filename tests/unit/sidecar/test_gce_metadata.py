from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import google.auth
import pytest
from google.auth import compute_engine
from google.auth.compute_engine import _metadata
from google.auth.exceptions import TransportError
from google.auth.transport.requests import Request
from pydantic import SecretStr
from tests.unit.sidecar.protocol_server import ENDS, ProtocolServer, ask, place

from credbroker.credentials import AccessToken, GCSCredentials
from credbroker.request import CredentialRequest
from credbroker.sidecar.protocol import Refusal, Route
from credbroker.sidecar.protocols.gce_metadata import EMAIL, PROTOCOL

FLAVOR = {"metadata-flavor": "Google"}
TOKEN = "ya29.broker"
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


def _route(path: str) -> Route:
    return next(route for route in PROTOCOL.routes if route.path == path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    with ProtocolServer("gce-metadata", GCSCredentials(SecretStr(TOKEN))) as running:
        variables = {name: str(value) for name, value in PROTOCOL.environment(running.place).items()}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        importlib.reload(_metadata)  # which reads them once, when it is loaded
        yield running
    monkeypatch.undo()
    importlib.reload(_metadata)


def test_google_auth_finds_it_and_refreshes_again_and_again(server: ProtocolServer) -> None:
    request = Request()
    assert _metadata.is_on_gce(request)
    credentials = compute_engine.Credentials()
    for number in range(3):  # from the second time on it asks by the account's name
        server.value = GCSCredentials(SecretStr(f"{TOKEN}{number}"))
        credentials.refresh(request)
        assert credentials.token == f"{TOKEN}{number}"
    assert credentials.service_account_email == EMAIL
    left = credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert credentials.valid
    assert credentials.universe_domain == "googleapis.com"
    looks_up = getattr(credentials, "_is_regional_access_boundary_lookup_required", None)  # newer releases do
    assert looks_up is None or not looks_up()


def test_google_auth_takes_it_for_the_default(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no gcloud is asked
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    assert isinstance(credentials, compute_engine.Credentials)
    assert project is None
    credentials.refresh(Request())
    assert credentials.token == TOKEN


def test_no_project_is_made_up(server: ProtocolServer) -> None:
    with pytest.raises(TransportError, match="no project is known here"):
        _metadata.get_project_id(Request())


def test_each_text_is_what_google_auth_expects(server: ProtocolServer) -> None:
    request = Request()
    assert _metadata.get(request, "instance/service-accounts/default/email") == EMAIL
    assert _metadata.get(request, "instance/service-accounts/default/scopes").startswith("https://www.googleapis.com/auth/")
    assert _metadata.get(request, "instance/service-accounts/").splitlines() == ["default/", f"{EMAIL}/"]
    assert _metadata.get(request, "instance/service-accounts/default/").splitlines() == [
        "aliases",
        "email",
        "scopes",
        "token",
    ]
    assert _metadata.get(request, "instance") == _metadata.get(request, "instance/") == "service-accounts/\n"
    assert _metadata.get(request, "") == "instance/\nproject/\nuniverse/\n"


def test_an_identity_token_is_not_served() -> None:
    assert not [route.path for route in PROTOCOL.routes if "identity" in route.path]


@pytest.mark.parametrize("value", [AccessToken(SecretStr(TOKEN)), GCSCredentials(SecretStr(TOKEN))])
def test_the_token_is_told_with_whole_seconds(value: AccessToken | GCSCredentials) -> None:
    answer = _route(f"{ACCOUNT}/token").answer
    assert answer is not None
    # What object_store asks, and what google-auth does.
    for query in ({"audience": "https://www.googleapis.com/oauth2/v4/token"}, {"scopes": "a,b"}):
        told = answer(ask(query, FLAVOR), value, ENDS)
        assert json.loads(told.body) == {"access_token": TOKEN, "expires_in": 3000, "token_type": "Bearer"}
        assert ("metadata-flavor", "Google") in told.headers


def test_the_scopes_are_those_of_the_binding_where_they_are_known() -> None:
    text = _route(f"{ACCOUNT}/").text
    assert text is not None
    granted = CredentialRequest("compute", "bigquery", scopes=frozenset({"https://www.googleapis.com/auth/bigquery"}))
    told = json.loads(text(ask({"recursive": "true"}, FLAVOR, granted=granted)).body)
    assert told == {"aliases": ["default"], "email": EMAIL, "scopes": ["https://www.googleapis.com/auth/bigquery"]}


@pytest.mark.parametrize("headers", [{}, {"metadata-flavor": "google"}, {"metadata-flavor": ""}])
def test_nothing_is_told_without_the_header(headers: dict[str, str]) -> None:
    for route in PROTOCOL.routes:
        refused = route.check(ask(headers=headers))
        assert refused is not None
        assert refused.status == 403
        assert route.check(ask(headers=FLAVOR)) is None


def test_every_answer_has_the_flavor_by_which_clients_know_it() -> None:
    texts = [route.text(ask(headers=FLAVOR)) for route in PROTOCOL.routes if route.text is not None]
    assert all(("metadata-flavor", "Google") in told.headers for told in texts)
    assert ("metadata-flavor", "Google") in PROTOCOL.refusal(Refusal(503, "IssuerUnavailable", "later")).headers


def test_the_variables() -> None:
    assert PROTOCOL.environment(place()) == {
        "GCE_METADATA_HOST": "127.0.0.1:8642",
        "GCE_METADATA_IP": "127.0.0.1:8642",
        "GCE_METADATA_MTLS_MODE": "none",
    }
