from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.secrets.aws_answers import assert_nothing_stays

from credbroker.context import Context, HttpResponse
from credbroker.errors import CredbrokerError, InsufficientLifetime, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity.aws import base_keys
from credbroker.identity.aws_metadata import LEAST_LIFE, dying
from credbroker.profile import StorageProfile
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
AGENT = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary-agent"}
DOCUMENT = {
    "AccessKeyId": "ASIAMADEUP",
    "SecretAccessKey": "canary-secret",
    "Token": "canary-token",
    "Expiration": "2026-11-22T21:00:00Z",
}


class Variables:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def variable(self, name: str) -> str | None:
        return self._variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise AssertionError(path)

    def names(self, path: str) -> tuple[str, ...] | None:
        raise AssertionError(path)


def said(body: object, status: int = 200, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, headers, raw, NOW, NOW + timedelta(milliseconds=2))


def world(*answers: HttpResponse | CredbrokerError, **further: Any) -> Context:
    return Context(clock=ManualClock(NOW), http=FakeHttp(*answers), environment=Variables(AGENT), **further)


def test_the_keys_have_their_end() -> None:
    keys = base_keys("container", world(said(DOCUMENT)))
    assert (keys.access_key_id, keys.expires_at) == ("ASIAMADEUP", NOW + timedelta(hours=1))
    assert keys.session_token is not None
    assert "canary" not in repr(keys)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"canary",
        b"[]",
        b"[" * 100_000,
        *({key: value for key, value in DOCUMENT.items() if key != left_out} for left_out in DOCUMENT),
        {**DOCUMENT, "Token": "canary\r\nX-Evil: 1"},
        {**DOCUMENT, "SecretAccessKey": None},
        {**DOCUMENT, "Expiration": "canary"},
        {**DOCUMENT, "Expiration": "2026-11-22T21:00:00"},
        {**DOCUMENT, "Expiration": 1795386000},
    ],
)
def test_a_document_that_lacks_what_it_must_have_is_malformed(wrong: object) -> None:
    with pytest.raises(MalformedResponse, match="AccessKeyId, SecretAccessKey, Token") as caught:
        base_keys("container", world(said(wrong)))
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize("ends", ["2026-11-22T20:00:14Z", "2026-11-22T19:00:00Z", "2026-11-22T21:00:10+01:00"])
def test_keys_that_are_over_or_nearly_are_refused(ends: str) -> None:
    with pytest.raises(InsufficientLifetime, match="container gives keys that end at") as caught:
        base_keys("container", world(said({**DOCUMENT, "Expiration": ends})))
    assert caught.value.retryable
    assert_nothing_stays(caught.value)


def test_a_machine_whose_clock_is_behind_does_not_send_what_is_over() -> None:
    """The service's own clock says 20:59:55: of the hour that the document promises five seconds are left."""
    with pytest.raises(InsufficientLifetime):
        base_keys("container", world(said(DOCUMENT, date="Sun, 22 Nov 2026 20:59:55 GMT")))


def test_how_much_life_is_too_little() -> None:
    assert dying(NOW + LEAST_LIFE - timedelta(microseconds=1), NOW)
    assert not dying(NOW + LEAST_LIFE, NOW)
    assert not dying(None, NOW)


@pytest.mark.parametrize(
    ("code", "denied", "text"),
    [("AssumeRoleUnauthorizedAccess", True, r"ec2\.amazonaws\.com"), ("canary", False, "given no keys")],
)
def test_an_instance_whose_role_does_not_trust_ec2_is_refused(code: str, denied: bool, text: str) -> None:
    answers = (said(b"imds-token"), said(b"Instance"), said({"Code": code, "Message": "canary"}))
    with pytest.raises(IssueDenied, match=text) as caught:
        base_keys("imds", world(*answers))
    assert caught.value.grant_denied is denied
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ((said(b"canary token"),), MalformedResponse),
        ((said(b""),), MalformedResponse),
        ((said(b"canary"), said(b"../role")), MalformedResponse),
        ((said(b"canary"), said(b"role\nother")), MalformedResponse),
        ((said(b"canary"), said(b"canary", 401)), IssueDenied),
        ((said(b"canary"), IssuerUnavailable("no route")), IssuerUnavailable),
        ((said(b"canary"), said(b"Instance"), said(b"canary", 500)), IssuerUnavailable),
    ],
)
def test_what_imds_answers_instead_stays_nowhere(
    answers: tuple[HttpResponse | CredbrokerError, ...], kind: type[CredbrokerError]
) -> None:
    with pytest.raises(kind) as caught:
        base_keys("imds", world(*answers))
    assert type(caught.value) is kind
    assert "imds" in str(caught.value)
    assert_nothing_stays(caught.value)


def test_the_profile_is_named_where_there_is_one() -> None:
    with pytest.raises(IssueDenied) as caught:
        base_keys("container", world(said(b"canary", 403), profile=StorageProfile(name="lake")))
    assert caught.value.profile == "lake"
