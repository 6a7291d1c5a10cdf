from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker.context import Context, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.secrets import gcp
from credbroker.secrets.gcp import SecretManagerBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
CANARY = "canary-secret"
LOGIN = BackendLogin(method="service_account_key", key=SecretReference(secret_ref="gcp-key"))
REFERENCE = SecretReference(secret_ref="polaris")


@pytest.fixture(autouse=True)
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that were given out; how one is got is the identity's own test."""
    given: list[str] = []

    def log_in(self: SecretManagerBackend, context: Context) -> tuple[SecretStr, float]:
        given.append(f"token-{len(given) + 1}")
        return SecretStr(given[-1]), 3600.0

    monkeypatch.setattr(SecretManagerBackend, "_log_in", log_in)
    return given


def _settings(**changes: Any) -> BackendSettings:
    return BackendSettings(**{"type": "gcp", "project": "lab-1", "auth": LOGIN, **changes})


def _answer(status: int = 200, body: object = None) -> HttpResponse:
    body = {"payload": {"data": b64encode(CANARY.encode()).decode()}} if body is None else body
    return HttpResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW, NOW)


def _error(status: int, code: str, reason: str = "") -> HttpResponse:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}, "odd", 7]
    return _answer(status, {"error": {"code": status, "message": CANARY, "status": code, "details": details}})


def _look(
    *answers: HttpResponse | CredbrokerError, reference: SecretReference = REFERENCE, **changes: Any
) -> tuple[Any, FakeHttp]:
    http = FakeHttp(*answers)
    found = SecretManagerBackend(_settings(**changes), ()).look(reference, Context(http=http, clock=ManualClock(NOW)))
    return found, http


def _shown(trace: TracebackType | None) -> str:
    frames = []
    while trace is not None:
        if "credbroker/secrets" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


def test_the_latest_version_is_asked_for_with_the_token() -> None:
    found, http = _look(_answer(), prefix="data_")
    assert found.secret.get_secret_value() == CANARY
    (request,) = http.requests
    assert request.method == "GET"
    assert (
        request.url == "https://secretmanager.googleapis.com/v1/projects/lab-1/secrets/data_polaris/versions/latest:access"
    )
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.body is None
    assert CANARY not in repr(found)


def test_another_endpoint_is_asked_where_the_settings_say_so() -> None:
    _, http = _look(_answer(), endpoint="https://secretmanager.us-central1.rep.googleapis.com/")
    assert http.requests[0].url.startswith("https://secretmanager.us-central1.rep.googleapis.com/v1/projects/lab-1/")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://secretmanager.googleapis.com",
        "https://user@secretmanager.googleapis.com",
        "https://secretmanager.googleapis.com/v1",
        "https://secretmanager.googleapis.com?x",
        "https://secretmanager.googleapis.com\\@collector.example",
        "https://",
        "https://[::1",
        "https://host:port",
        "ftp://host",
        "https://hôst",
    ],
)
def test_an_endpoint_that_is_no_https_origin_is_refused_when_the_backend_is_made(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint "):
        SecretManagerBackend(_settings(endpoint=endpoint, where="p.yaml:3: secret_backends[1]"), ())


@pytest.mark.parametrize("project", [None, "", "a/b", "lab/locations/x", "..", "LAB", "lab\n", "-lab", "lab-"])
def test_a_project_that_would_change_the_path_is_refused(project: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"p\.yaml:3: secret_backends\[1\]: project"):
        SecretManagerBackend(_settings(project=project, where="p.yaml:3: secret_backends[1]"), ())


@pytest.mark.parametrize("project", ["lab", "123456789", "example.com:lab"])
def test_a_project_is_an_id_a_number_or_a_domains(project: str) -> None:
    _, http = _look(_answer(), project=project)
    assert f"/projects/{project}/" in http.requests[0].url


@pytest.mark.parametrize("auth", [None, BackendLogin(method="service_account_key")])
def test_without_a_key_there_is_no_backend(auth: BackendLogin | None) -> None:
    with pytest.raises(ConfigurationError, match=r"secret_backends: auth(\.key)? is missing"):
        SecretManagerBackend(_settings(auth=auth), ())


@pytest.mark.parametrize("prefix", ["team/", "team.", "x" * 255])
def test_a_name_that_cannot_be_is_absent_and_not_asked_for(prefix: str, logins: list[str]) -> None:
    found, http = _look(prefix=prefix)
    assert found.secret is None
    assert "no such names" in str(found)
    assert http.requests == []
    assert logins == []


def test_what_is_not_there_is_absent() -> None:
    assert str(_look(_error(404, "NOT_FOUND"))[0]) == "secret 'polaris' of project 'lab-1' in Secret Manager"
    found, _ = _look(_error(400, "FAILED_PRECONDITION"))
    assert found.secret is None
    assert found.reason == "its latest version is disabled or destroyed"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (_error(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED"), IssueDenied, r"roles/secretmanager\.secretAccessor"),
        (_error(403, "PERMISSION_DENIED", "SERVICE_DISABLED"), IssueDenied, "enable the API"),
        (_error(403, "PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED"), IssueDenied, "VPC Service Controls"),
        (_answer(403, CANARY.encode()), MalformedResponse, "HTTP 403, which is no answer of Secret Manager"),
        (_answer(404, CANARY.encode()), MalformedResponse, "HTTP 404, which is no answer of Secret Manager"),
        (_answer(404, {"error": CANARY}), MalformedResponse, "HTTP 404"),
        (_error(400, "INVALID_ARGUMENT"), MalformedResponse, "HTTP 400"),
        (_error(503, "UNAVAILABLE"), IssuerUnavailable, "HTTP 503"),
        (_error(429, "RESOURCE_EXHAUSTED"), IssuerUnavailable, "HTTP 429"),
        (_answer(200, CANARY.encode()), MalformedResponse, "no payload"),
        (_answer(200, [CANARY]), MalformedResponse, "no payload"),
        (_answer(200, {"payload": {}}), MalformedResponse, "no payload"),
        (_answer(200, {"payload": {"data": [CANARY]}}), MalformedResponse, "no payload"),
        (_answer(200, {"payload": {"data": f"{CANARY}*"}}), MalformedResponse, "no payload"),
        (_answer(200, {"payload": {"data": "Y2FuYXJ5", "dataCrc32c": "1"}}), MalformedResponse, "checksum"),
        (IssuerUnavailable("no answer in time"), IssuerUnavailable, "no answer in time"),
    ],
)
def test_what_cannot_tell_raises_without_what_was_received(
    answer: HttpResponse | CredbrokerError, kind: type[CredbrokerError], text: str
) -> None:
    with pytest.raises(kind, match=text) as caught:
        _look(answer)
    assert CANARY not in str(caught.value)
    shown = _shown(caught.tb)
    assert CANARY not in shown
    assert "token-1" not in shown
    # What we log in with could not be had: what is held stays in use, as for a wrong secret.
    assert not getattr(caught.value, "grant_denied", False)


def test_an_empty_secret_is_none() -> None:
    found, _ = _look(_answer(200, {"payload": {"data": ""}}))
    assert found.secret is None
    assert found.reason == "it is empty"


def test_a_refused_token_is_replaced_once(logins: list[str]) -> None:
    found, http = _look(_answer(401, b""), _answer())
    assert found.secret.get_secret_value() == CANARY
    assert [request.headers["authorization"] for request in http.requests] == ["Bearer token-1", "Bearer token-2"]
    with pytest.raises(IssueDenied, match="HTTP 401 for a new token too") as caught:
        _look(_answer(401, b""), _answer(401, b""), _answer())
    assert not caught.value.grant_denied
    assert len(logins) == 4


def test_the_checksum_is_castagnolis() -> None:
    assert gcp._crc32c(b"123456789") == 0xE3069283
    assert gcp._crc32c(b"") == 0
    assert gcp._crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4: 32 bytes of zeroes, as aa 36 91 8a
