from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.identity.azure import client_secret_token, workload_identity_token
from credbroker.testing import FakeHttp

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
TENANT = "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42"
SCOPE = "https://vault.azure.net/.default"
CANARY = "canary-secret"
WRONG_CLIENT = {"error": "invalid_client", "error_description": f"AADSTS7000215: {CANARY}", "error_codes": [7000215]}


class Files:
    """An environment with these files alone."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"/run/{name}": content for name, content in files.items()}

    def variable(self, name: str) -> str | None:
        raise AssertionError(f"{name} was read: nothing ambient is looked at")

    def read(self, path: str, *, within: str | None = None) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def names(self, path: str) -> None:
        return None


def _answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    body = {"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ.a.b"} if body is None else body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW, NOW)


def _by_secret(http: FakeHttp, *secrets: str, tenant: str = TENANT, **options: str) -> tuple[SecretStr, float]:
    given = [SecretStr(secret) for secret in secrets]
    context = Context(http=http, environment=Files())
    return client_secret_token(given, context, scope=SCOPE, tenant_id=tenant, client_id="app", **options)


def _by_file(http: FakeHttp, path: str = "/run/token", **files: bytes) -> tuple[SecretStr, float]:
    context = Context(http=http, environment=Files(**files))
    return workload_identity_token(path, context, scope=SCOPE, tenant_id=TENANT, client_id="app")


def _form(request: HttpRequest) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs((request.body or b"").decode()).items()}


def _shown(trace: TracebackType | None) -> str:
    frames = []
    while trace is not None:
        if "credbroker/identity" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


def test_a_client_secret_brings_a_token_in_one_post() -> None:
    http = FakeHttp(_answer())
    token, life = _by_secret(http, "a+b &c")
    assert (token.get_secret_value(), life) == ("eyJ.a.b", 3599)
    (request,) = http.requests
    assert (request.method, request.url) == ("POST", f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    assert _form(request) == {
        "grant_type": "client_credentials",
        "client_id": "app",
        "scope": SCOPE,
        "client_secret": "a+b &c",
    }


def test_a_federated_token_brings_a_token_in_one_post() -> None:
    http = FakeHttp(_answer())
    _by_file(http, token=b"e30.e30.c2ln\n")
    assert _form(http.requests[0]) == {
        "grant_type": "client_credentials",
        "client_id": "app",
        "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "e30.e30.c2ln",
    }


def test_another_cloud_has_another_authority() -> None:
    http = FakeHttp(_answer())
    _by_secret(http, "s", authority="https://login.microsoftonline.us")
    assert http.requests[0].url == f"https://login.microsoftonline.us/{TENANT}/oauth2/v2.0/token"


@pytest.mark.parametrize("tenant", ["", "a/b", "..", "a?b", "a#b", "a b", "-a", "%2e%2e", "a\n"])
def test_a_tenant_that_would_change_the_path_is_refused(tenant: str) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match="tenant_id"):
        _by_secret(http, "s", tenant=tenant)
    assert http.requests == []


def test_another_secret_is_presented_only_after_invalid_client_and_only_one() -> None:
    http = FakeHttp(_answer(401, WRONG_CLIENT), _answer())
    assert _by_secret(http, "old", "new", "third")[0].get_secret_value() == "eyJ.a.b"
    assert [_form(request)["client_secret"] for request in http.requests] == ["old", "new"]
    http = FakeHttp(_answer(401, WRONG_CLIENT), _answer(401, WRONG_CLIENT), _answer())
    with pytest.raises(IssueDenied):
        _by_secret(http, "old", "new", "third")
    assert len(http.requests) == 2


@pytest.mark.parametrize("status", [400, 429, 503])
def test_no_other_refusal_makes_it_present_another_secret(status: int) -> None:
    http = FakeHttp(_answer(status, {"error": "unauthorized_client"}), _answer())
    with pytest.raises(CredbrokerError):
        _by_secret(http, "old", "new")
    assert len(http.requests) == 1


def test_a_second_secret_is_not_even_read_where_the_first_one_is_taken() -> None:
    def secrets() -> Iterator[SecretStr]:
        yield SecretStr("first")
        raise AssertionError("the second one was read")

    context = Context(http=FakeHttp(_answer()))
    client_secret_token(secrets(), context, scope=SCOPE, tenant_id=TENANT, client_id="app")


def test_no_secret_at_all_asks_nobody() -> None:
    with pytest.raises(SecretNotFound):
        _by_secret(FakeHttp())


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (_answer(401, WRONG_CLIENT), IssueDenied, "its value \\(not its id\\)"),
        (_answer(400, {"error": "unauthorized_client"}), IssueDenied, "no application of this client_id"),
        (_answer(400, {"error": "invalid_request", "error_description": CANARY}), IssueDenied, "look at tenant_id"),
        (_answer(400, {"error": CANARY}), IssueDenied, "look at tenant_id"),
        (_answer(503, CANARY.encode(), retry_after="3"), IssuerUnavailable, "HTTP 503"),
        (_answer(429, b""), IssuerUnavailable, "HTTP 429"),
        (_answer(404, CANARY.encode()), MalformedResponse, "without a reason in JSON"),
        (_answer(200, CANARY.encode()), MalformedResponse, "without a token and its lifetime"),
    ],
)
def test_a_refusal_is_an_error_without_what_was_sent_or_received(
    answer: HttpResponse, kind: type[CredbrokerError], text: str
) -> None:
    http = FakeHttp(answer)
    with pytest.raises(kind, match=text) as caught:
        _by_secret(http, CANARY)
    assert CANARY not in str(caught.value)
    assert CANARY not in _shown(caught.tb)
    assert not getattr(caught.value, "grant_denied", False)
    assert caught.value.retry_after == (timedelta(seconds=3) if answer.headers else None)


def test_a_federated_token_that_is_not_trusted_names_what_must_match() -> None:
    refusal = {"error": "invalid_client", "error_description": CANARY, "error_codes": [1]}
    with pytest.raises(IssueDenied, match="issuer, subject and audience") as caught:
        _by_file(FakeHttp(_answer(401, refusal)), token=b"e30.e30.Y2FuYXJ5")
    assert CANARY not in str(caught.value)
    assert "Y2FuYXJ5" not in _shown(caught.tb)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (90002, "AADSTS90002, no such tenant"),
        (700016, "AADSTS700016, no application"),
        (7000222, "AADSTS7000222, the client secret is over its expiry date"),
        (700024, "AADSTS700024, the assertion is not within its times"),
        (500011, "AADSTS500011, the scope is none"),
    ],
)
def test_the_vendors_number_says_what_to_do_and_its_text_is_not_told(number: int, text: str) -> None:
    body = {"error": "invalid_request", "error_description": f"AADSTS{number}: {CANARY}", "error_codes": [1, number]}
    with pytest.raises(IssueDenied, match=text) as caught:
        _by_secret(FakeHttp(_answer(400, body)), "s")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("numbers", [None, "90002", 90002, [CANARY], [12345], [True], [[]], [{}]])
def test_a_number_that_is_not_known_is_not_told(numbers: object) -> None:
    body = {"error": "invalid_request", "error_codes": numbers}
    with pytest.raises(IssueDenied, match="HTTP 400 invalid_request: look at tenant_id and client_id"):
        _by_secret(FakeHttp(_answer(400, body)), "s")


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff", b"a\nb", b"x" * 16385])
def test_a_file_without_a_token_is_refused_and_not_shown(content: bytes) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match="'/run/token' holds no token"):
        _by_file(http, token=content)
    assert http.requests == []


@pytest.mark.parametrize("content", [b"eyJ", b"e30.e30", b"e30.e30.", b"e30.!!.c2ln", b"a.b.c.d.e"])
def test_a_half_written_token_is_not_sent(content: bytes) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match="'/run/token' holds no whole JWT: look at what writes it"):
        _by_file(http, token=content)
    assert http.requests == []


def test_a_federated_token_that_is_not_there_names_the_file() -> None:
    with pytest.raises(ConfigurationError, match="'/run/other' cannot be read: no such file or directory"):
        _by_file(FakeHttp(), path="/run/other")
