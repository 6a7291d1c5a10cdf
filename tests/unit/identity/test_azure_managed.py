from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from credbroker.context import Context, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.identity.azure_managed import managed_identity_token
from credbroker.testing import FakeHttp

if TYPE_CHECKING:
    from pydantic import SecretStr

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
SCOPE = "https://storage.azure.com/.default"
CANARY = "canary-header"
APP_SERVICE = {"IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token", "IDENTITY_HEADER": CANARY}
ENDS = str(int((NOW + timedelta(hours=3)).timestamp()))


class Variables:
    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def variable(self, name: str) -> str | None:
        return self._variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise AssertionError(f"{path} was read")

    def names(self, path: str) -> None:
        return None


def _answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    said = {"access_token": "eyJ.a.b", "expires_on": ENDS, "expires_in": "86400"} if body is None else body
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW, NOW)


def _token(http: FakeHttp, client_id: str | None = None, variables: dict[str, str] | None = None) -> tuple[SecretStr, float]:
    context = Context(http=http, environment=Variables(variables or {}))
    return managed_identity_token(context, scope=SCOPE, client_id=client_id)


def _shown(trace: TracebackType | None) -> str:
    shown = ""
    while trace is not None:
        if "credbroker/identity" in trace.tb_frame.f_code.co_filename:
            shown += repr(trace.tb_frame.f_locals)
        trace = trace.tb_next
    return shown


def test_a_machine_asks_its_metadata_service() -> None:
    http = FakeHttp(_answer())
    token, life = _token(http)
    # expires_in counts from when the token was made, which may be hours ago.
    assert (token.get_secret_value(), life) == ("eyJ.a.b", 3 * 3600)
    (request,) = http.requests
    assert (request.method, request.link_local, dict(request.headers)) == ("GET", True, {"metadata": "true"})
    assert request.url.startswith("http://169.254.169.254/metadata/identity/oauth2/token?")
    assert parse_qs(urlsplit(request.url).query) == {
        "api-version": ["2018-02-01"],
        "resource": ["https://storage.azure.com"],
    }


def test_app_service_is_asked_where_its_variables_are() -> None:
    http = FakeHttp(_answer(body={"access_token": "eyJ", "expires_on": int(ENDS), "client_id": "APP"}))
    _token(http, "app", APP_SERVICE)
    (request,) = http.requests
    assert (request.method, request.link_local, dict(request.headers)) == ("GET", True, {"x-identity-header": CANARY})
    assert request.url.startswith("http://127.0.0.1:41741/msi/token?")
    query = {name: value for name, (value,) in parse_qs(urlsplit(request.url).query).items()}
    assert query == {"api-version": "2019-08-01", "resource": "https://storage.azure.com", "client_id": "app"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://collector.example/msi/token",
        "http://169.254.169.254.collector.example/",
        "http://x@127.0.0.1/",
        "http://127.0.0.1/?a=b",
        "ftp://127.0.0.1/",
        "http://127.0.0.1\\@collector.example/",
        "http://10.0.0.1/msi/token",
        "http://[::ffff:10.0.0.1]/",
        "msi",
    ],
)
def test_the_header_is_sent_to_this_machine_alone(endpoint: str) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match="IDENTITY_ENDPOINT is no URL of this machine") as caught:
        _token(http, variables={**APP_SERVICE, "IDENTITY_ENDPOINT": endpoint})
    assert http.requests == []
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", APP_SERVICE)
def test_one_of_the_two_variables_is_no_app_service(name: str) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match=f"managed_identity finds {name} without"):
        _token(http, variables={name: APP_SERVICE[name]})
    assert http.requests == []


def test_a_header_with_a_line_end_is_not_sent() -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match="IDENTITY_HEADER is not visible ASCII"):
        _token(http, variables={**APP_SERVICE, "IDENTITY_HEADER": "a\nb"})
    assert http.requests == []


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (_answer(400, {"error": "invalid_request", "error_description": CANARY}), CredentialUnavailable, "no such identity"),
        (_answer(400, {"error": "invalid_resource"}), IssueDenied, "look at the scope"),
        (_answer(401, {"error": "unknown_source"}), IssueDenied, "gives this process no token"),
        (_answer(403, {}), IssueDenied, "gives this process no token"),
        (_answer(404, b""), IssuerUnavailable, "HTTP 404: it is asked again later"),
        (_answer(410, b"", retry_after="70"), IssuerUnavailable, "HTTP 410"),
        (_answer(500, {"error": "unknown"}), IssuerUnavailable, "HTTP 500"),
        (_answer(200, CANARY.encode()), MalformedResponse, "without JSON"),
        (_answer(200, {"access_token": "a b", "expires_on": ENDS}), MalformedResponse, "without a token and its end"),
        (_answer(200, {"access_token": "eyJ"}), MalformedResponse, "without a token and its end"),
        (_answer(200, {"access_token": "eyJ", "expires_on": "never"}), MalformedResponse, "without a token and its end"),
        (_answer(200, {"access_token": "eyJ", "expires_on": "9" * 12}), MalformedResponse, "without a token and its end"),
        (_answer(200, {"access_token": "eyJ", "expires_on": "1"}), InsufficientLifetime, "over on arrival"),
        (IssuerUnavailable("no answer"), IssuerUnavailable, "no answer .*: managed_identity is for what runs in Azure"),
    ],
)
def test_every_other_answer_is_told_apart_without_what_was_received(
    answer: HttpResponse | CredbrokerError, kind: type[CredbrokerError], text: str
) -> None:
    http = FakeHttp(answer)
    with pytest.raises(kind, match=text) as caught:
        _token(http)
    assert len(http.requests) == 1
    assert CANARY not in str(caught.value)
    assert CANARY not in _shown(caught.tb)


def test_another_identitys_token_is_not_used() -> None:
    body = {"access_token": "eyJ.canary", "expires_on": ENDS, "client_id": "other"}
    with pytest.raises(MalformedResponse, match="another identity's token") as caught:
        _token(FakeHttp(_answer(body=body)), "app")
    assert "eyJ.canary" not in _shown(caught.tb)
