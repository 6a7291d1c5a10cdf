from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from credbroker.context import Context, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.identity.gcp import TOKEN_URI, service_account_token
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
CANARY = "canary-in-the-answer"


@cache
def _pem() -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, form, none).decode()


def _key(**changes: Any) -> SecretStr:
    info = {
        "type": "service_account",
        "private_key_id": "k1",
        "private_key": _pem(),
        "client_email": "reader@lab.iam.gserviceaccount.com",
        "token_uri": TOKEN_URI,
    }
    return SecretStr(json.dumps({**info, **changes}))


def _answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    body = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"} if body is None else body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW, NOW)


def _token(key: SecretStr, *answers: HttpResponse | CredbrokerError) -> tuple[FakeHttp, SecretStr, float]:
    http = FakeHttp(*(answers or (_answer(),)))
    token, life = service_account_token(key, Context(http=http, clock=ManualClock(NOW)))
    return http, token, life


def _shown(trace: TracebackType | None) -> str:
    """What an error tracker shows of every frame from ours on down."""
    frames = []
    while trace is not None:
        if "credbroker/identity" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


def test_one_post_brings_the_token_and_its_life() -> None:
    http, token, life = _token(_key())
    (request,) = http.requests
    assert (request.method, request.url) == ("POST", TOKEN_URI)
    assert token.get_secret_value() == "ya29.x"
    assert life == 3599


def test_the_assertion_says_who_for_what_to_whom_and_until_when() -> None:
    http, _, _ = _token(_key())
    form = parse_qs((http.requests[0].body or b"").decode())
    assert set(form) == {"grant_type", "assertion"}
    header, claims, _ = form["assertion"][0].split(".")
    assert json.loads(urlsafe_b64decode(header + "==")) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    issued = int(NOW.timestamp())
    assert json.loads(urlsafe_b64decode(claims + "==")) == {
        "iss": "reader@lab.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": TOKEN_URI,
        "iat": issued,
        "exp": issued + 3600,
    }


def test_a_token_endpoint_on_loopback_gets_an_assertion_for_itself_alone() -> None:
    http, _, _ = _token(_key(token_uri="http://127.0.0.1:9/token"))
    assert http.requests[0].url == "http://127.0.0.1:9/token"
    claims = parse_qs((http.requests[0].body or b"").decode())["assertion"][0].split(".")[1]
    assert json.loads(urlsafe_b64decode(claims + "=="))["aud"] == "http://127.0.0.1:9/token"


@pytest.mark.parametrize(
    "token_uri",
    [
        "https://oauth2.googleapis.com.collector.example/token",
        "https://oauth2.googleapis.com/token?to=collector",
        "http://oauth2.googleapis.com/token",
        "https://collector.example/token",
        "http://127.0.0.1@collector.example/token",
        "http://collector.example@127.0.0.1/token",
        "http://[::1/token",
        "file://localhost/token",
    ],
)
def test_another_token_endpoint_is_refused_and_nothing_is_sent(token_uri: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"token_uri that is not https://oauth2\.googleapis\.com/token: nothing was"
    ):
        _token(_key(token_uri=token_uri))


@pytest.mark.parametrize(
    "key",
    [
        SecretStr("canary-key"),
        SecretStr('["canary-key"]'),
        SecretStr('{"type": "authorized_user", "private_key": "canary-key"}'),
        SecretStr("[" * 100_000),
        _key(private_key="canary-key"),
        _key(private_key="-----BEGIN PRIVATE KEY-----\ncanary-key\n-----END PRIVATE KEY-----\n"),
        _key(private_key=7),
        _key(client_email=""),
        _key(token_uri=None),
        _key(private_key_id=None),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(key: SecretStr) -> None:
    with pytest.raises(ConfigurationError, match="is no key of a service account in JSON") as caught:
        _token(key)
    assert "canary-key" not in str(caught.value)
    assert "canary-key" not in _shown(caught.tb)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (_answer(400, {"error": "invalid_grant", "error_description": CANARY}), IssueDenied),
        (_answer(401, {"error": "invalid_client"}), IssueDenied),
        (_answer(400, {"error": "invalid_scope"}), IssueDenied),
        (_answer(403, {"error": {"status": "PERMISSION_DENIED", "message": CANARY}}), IssueDenied),
        (_answer(503, CANARY.encode()), IssuerUnavailable),
        (_answer(500, {"error": "internal_failure"}), IssuerUnavailable),
        (_answer(400, {"error": "temporarily_unavailable"}), IssuerUnavailable),
        (_answer(429, {}), IssuerUnavailable),
        (_answer(404, CANARY.encode()), MalformedResponse),
        (_answer(200, CANARY.encode()), MalformedResponse),
        (_answer(200, {"access_token": f"{CANARY}\n", "expires_in": 1}), MalformedResponse),
        (_answer(200, {"access_token": CANARY}), MalformedResponse),
        (_answer(200, {"access_token": CANARY, "expires_in": 0}), InsufficientLifetime),
        (_answer(204, b""), MalformedResponse),
        (IssuerUnavailable("no answer in time"), IssuerUnavailable),
    ],
)
def test_each_refusal_is_one_request_and_one_error_without_what_was_received(
    answer: HttpResponse | CredbrokerError, kind: type[CredbrokerError]
) -> None:
    http = FakeHttp(answer, _answer(), _answer())
    with pytest.raises(kind) as caught:
        service_account_token(_key(), Context(http=http, clock=ManualClock(NOW)))
    assert len(http.requests) == 1
    assert CANARY not in str(caught.value)
    shown = _shown(caught.tb)
    assert CANARY not in shown
    assert _pem().splitlines()[3] not in shown
    assert not getattr(caught.value, "grant_denied", False)


def test_retry_after_is_passed_on() -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        _token(_key(), _answer(503, b"", retry_after="11"))
    assert caught.value.retry_after == timedelta(seconds=11)


def test_without_google_auth_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("google.auth", "google.auth.crypt", "google.auth.jwt"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'credbroker-data\[gcp\]'"):
        _token(_key())
