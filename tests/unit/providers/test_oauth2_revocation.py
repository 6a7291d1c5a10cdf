"""Revocation (RFC 7009): what is sent, and what is said where a token cannot be taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.providers.fake_issuer import (
    NOW,
    REQUEST,
    SETTINGS,
    URL,
    Issuer,
    answer,
    ec_key,
    form,
    public,
    reference,
    refusal,
)

from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import ConfigurationError, IssuerUnavailable, MalformedResponse
from credbroker.providers import Revocation
from credbroker.providers.oauth2 import OAuth2Provider

REVOKE = "https://idp.example/revoke"
REVOKED = answer(200, b"")
SETTLED = replace(SETTINGS, revocation_url=REVOKE)
TOKEN = AccessToken(SecretStr("canary-token"), expires_at=NOW + timedelta(hours=1))


def _revoke(issuer: Issuer, *answers: Any, value: Any = TOKEN) -> Revocation:
    outcome = OAuth2Provider().revoke(value, REQUEST, issuer.context(*(answers or (REVOKED,))))
    assert "canary" not in repr(outcome)
    return outcome


def test_the_token_is_sent_to_the_revocation_url_by_the_client_that_has_it() -> None:
    issuer = Issuer(SETTLED)
    assert _revoke(issuer) == Revocation(revoked=True, reason="the issuer at idp.example took the token back")
    (sent,) = issuer.sent
    assert (sent.method, sent.url) == ("POST", REVOKE)
    assert form(sent) == [("token", "canary-token"), ("token_type_hint", "access_token")]
    assert sent.headers["authorization"].startswith("Basic ")


def test_the_issuer_is_asked_where_it_takes_tokens_back() -> None:
    issuer = Issuer(replace(SETTINGS, issuer="https://idp.example"))
    metadata = answer(body={"issuer": "https://idp.example", "token_endpoint": URL, "revocation_endpoint": REVOKE})
    assert _revoke(issuer, metadata, REVOKED).revoked
    assert [sent.url for sent in issuer.sent] == ["https://idp.example/.well-known/oauth-authorization-server", REVOKE]


def test_an_assertion_is_for_the_token_endpoint_here_too() -> None:
    from joserfc import jwt
    from joserfc.jwk import ECKey

    settings = replace(SETTLED, token_endpoint_auth_method="private_key_jwt", private_key=reference("key"))
    issuer = Issuer(settings, {"key": ec_key()})
    assert _revoke(issuer).revoked
    assertion = dict(form(issuer.sent[0]))["client_assertion"]
    assert jwt.decode(assertion, ECKey.import_key(public(ec_key()))).claims["aud"] == URL


def test_a_refused_client_is_presented_with_its_next_secret() -> None:
    issuer = Issuer(SETTLED, {"oauth": "a", "oauth-next": "b"})
    assert _revoke(issuer, refusal("invalid_client", 401), REVOKED).revoked
    assert len(issuer.sent) == 2


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (refusal("unsupported_token_type"), "HTTP 400 unsupported_token_type: it takes back no token of this kind (a JWT"),
        (refusal("invalid_client", 401), "HTTP 401 invalid_client: it does not accept this client"),
        (refusal("invalid_request"), "HTTP 400 invalid_request"),
        (answer(404, b"<html>canary"), "HTTP 404"),
    ],
)
def test_a_token_that_is_not_taken_back_has_a_reason_and_a_runbook(refused: Any, reason: str) -> None:
    outcome = _revoke(Issuer(SETTLED), refused)
    assert not outcome.revoked
    assert reason in outcome.reason
    assert outcome.runbook == "disable the client at the issuer, or wait until 2026-11-23T03:00:00+00:00"


def test_without_an_endpoint_nothing_is_sent() -> None:
    issuer = Issuer()
    outcome = _revoke(issuer)
    assert not outcome.revoked
    assert "credentials.revocation_url" in outcome.reason
    assert issuer.sent == []


def test_an_endpoint_on_another_host_is_sent_no_token() -> None:
    issuer = Issuer(replace(SETTINGS, issuer="https://idp.example"))
    elsewhere = {"revocation_endpoint": "https://canary.example/revoke", "token_endpoint": URL}
    with pytest.raises(
        MalformedResponse, match=r"revocation_endpoint on another host .* set credentials\.revocation_url"
    ) as caught:
        _revoke(issuer, answer(body={"issuer": "https://idp.example", **elsewhere}), REVOKED)
    assert "canary" not in str(caught.value)
    assert len(issuer.sent) == 1


def test_an_issuer_that_takes_nothing_back_is_not_asked_to() -> None:
    issuer = Issuer(replace(SETTINGS, issuer="https://idp.example"))
    outcome = _revoke(issuer, answer(body={"issuer": "https://idp.example", "token_endpoint": URL}))
    assert (outcome.revoked, len(issuer.sent)) == (False, 1)


def test_an_end_that_is_not_known_is_said_to_be() -> None:
    outcome = _revoke(Issuer(), value=AccessToken(SecretStr("canary")))
    assert outcome.runbook == "disable the client at the issuer, or wait until its end, which is not known"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_issuer_could_not_be_asked(status: int) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        _revoke(Issuer(SETTLED), answer(status, b"canary", retry_after="5"))
    assert caught.value.retry_after == timedelta(seconds=5)
    assert "canary" not in str(caught.value)


def test_what_is_no_token_is_not_sent() -> None:
    issuer = Issuer(SETTLED)
    with pytest.raises(ConfigurationError):
        _revoke(issuer, value=S3Credentials("a", SecretStr("b")))
    assert issuer.sent == []
