"""tls_client_auth and self_signed_tls_client_auth (RFC 8705): the pair that is presented, and those that are no pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.providers.fake_issuer import (
    REQUEST,
    SETTINGS,
    URL,
    Issuer,
    answer,
    certificate,
    ec_key,
    loaded,
    pem,
    public,
    reference,
    refusal,
    rsa_key,
)

from credbroker.context import HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, IssueDenied, SecretNotFound
from credbroker.providers.oauth2 import OAuth2Provider

PATH = "/etc/credbroker/client.pem"
BY_FILE = replace(
    SETTINGS,
    token_endpoint_auth_method="tls_client_auth",
    client_secret=None,
    certificate=PATH,
    certificate_key=reference("key"),
)
BY_REFERENCE = replace(
    BY_FILE, certificate=reference("chain", next="chain-next"), certificate_key=reference("key", next="key-next")
)
KEY, OTHER = ec_key(which=10), ec_key(which=11)
CHAIN, OTHER_CHAIN = certificate(KEY), certificate(OTHER)
REFUSED = refusal("invalid_client", 401)


def _presented(issuer: Issuer) -> list[tuple[str, str]]:
    pairs = [request.client_certificate for request in issuer.sent]
    return [(pair.chain.get_secret_value(), pair.key.get_secret_value()) for pair in pairs if pair is not None]


def _fault(secrets: dict[str, str], files: dict[str, str] | None = None, settings: Any = BY_REFERENCE) -> str:
    issuer = Issuer(settings, secrets, files or {})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        issuer.issue()
    assert issuer.sent == []
    kept = repr([entry.frame.f_locals for entry in caught.traceback[1:] if "credbroker" in str(entry.path)])
    for held in (*secrets.values(), *(files or {}).values()):
        assert not any(line in str(caught.value) for line in held.splitlines() if "-----" not in line)
    assert "PRIVATE KEY-----\n" not in kept
    return str(caught.value)


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_the_certificate_is_presented_and_the_form_says_whose_it_is(method: str) -> None:
    issuer = Issuer(replace(BY_FILE, token_endpoint_auth_method=method), {"key": KEY}, {PATH: CHAIN})
    issuer.issue()
    assert _presented(issuer) == [(CHAIN, KEY)]
    assert issuer.forms() == [[("grant_type", "client_credentials"), ("scope", "read"), ("client_id", "svc")]]
    assert "authorization" not in issuer.sent[0].headers


def test_the_certificate_may_stand_in_a_secret() -> None:
    issuer = Issuer(BY_REFERENCE, {"chain": CHAIN, "key": KEY})
    issuer.issue()
    assert _presented(issuer) == [(CHAIN, KEY)]


def test_both_are_read_at_each_issue() -> None:
    issuer = Issuer(BY_FILE, {"key": KEY}, {PATH: CHAIN})
    issuer.issue()
    issuer.secrets, issuer.files = {"key": OTHER}, {PATH: OTHER_CHAIN}
    issuer.issue()
    assert _presented(issuer) == [(OTHER_CHAIN, OTHER)]


def test_a_chain_of_several_is_presented_whole() -> None:
    issuer = Issuer(BY_FILE, {"key": KEY}, {PATH: CHAIN + OTHER_CHAIN})
    issuer.issue()
    assert _presented(issuer) == [(CHAIN + OTHER_CHAIN, KEY)]


# ------------------------------------------------------------------------------------------------------------ a rotation


def test_a_refused_certificate_is_followed_by_the_next_one_once() -> None:
    issuer = Issuer(BY_REFERENCE, {"chain": CHAIN, "key": KEY, "chain-next": OTHER_CHAIN, "key-next": OTHER})
    issuer.issue(REFUSED, answer())
    assert _presented(issuer) == [(CHAIN, KEY), (OTHER_CHAIN, OTHER)]
    with pytest.raises(IssueDenied, match=r"that the issuer knows credentials\.certificate"):
        issuer.issue(REFUSED, REFUSED, answer())
    assert len(issuer.sent) == 2


def test_a_certificate_that_is_refused_in_the_handshake_is_followed_too() -> None:
    issuer = Issuer(BY_REFERENCE, {"chain": CHAIN, "key": KEY, "chain-next": OTHER_CHAIN, "key-next": OTHER})
    issuer.issue(IssueDenied("the handshake was broken off"), answer())
    assert _presented(issuer) == [(CHAIN, KEY), (OTHER_CHAIN, OTHER)]
    with pytest.raises(IssueDenied, match="broken off"):
        issuer.issue(IssueDenied("the handshake was broken off"), IssueDenied("the handshake was broken off"))


def test_a_pair_that_was_replaced_meanwhile_comes_before_the_next_one() -> None:
    secrets = {"chain": [CHAIN, OTHER_CHAIN], "key": [KEY, OTHER], "chain-next": CHAIN, "key-next": KEY}
    issuer = Issuer(BY_REFERENCE, secrets)
    issuer.issue(REFUSED, answer())
    assert _presented(issuer) == [(CHAIN, KEY), (OTHER_CHAIN, OTHER)]


def test_a_pair_that_was_refused_is_not_tried_again() -> None:
    issuer = Issuer(BY_REFERENCE, {"chain": CHAIN, "key": KEY})
    with pytest.raises(IssueDenied):
        issuer.issue(REFUSED, answer())
    assert len(issuer.sent) == 1


def test_a_rotation_that_is_half_done_is_read_once_more() -> None:
    issuer = Issuer(BY_REFERENCE, {"chain": CHAIN, "key": [OTHER, KEY]})
    issuer.issue()
    assert _presented(issuer) == [(CHAIN, KEY)]


def test_a_new_certificate_beside_the_old_key_takes_the_next_key() -> None:
    settings = replace(BY_FILE, certificate_key=reference("key", next="key-next"))
    issuer = Issuer(settings, {"key": KEY, "key-next": OTHER}, {PATH: OTHER_CHAIN})
    issuer.issue()
    assert _presented(issuer) == [(OTHER_CHAIN, OTHER)]


# --------------------------------------------------------------------------------------------------------- what is no pair


def test_a_key_of_another_certificate_is_refused() -> None:
    assert "credentials.certificate_key is not the key of" in _fault({"chain": CHAIN, "key": OTHER})


@pytest.mark.parametrize("chain", ["", "canary", KEY, public(KEY), CHAIN[:200], CHAIN.replace("\n", "\\n")])
def test_what_is_no_certificate_is_refused(chain: str) -> None:
    assert "credentials.certificate is no certificate in PEM" in _fault({"key": KEY}, {PATH: chain}, BY_FILE)


@pytest.mark.parametrize("key", ["", "canary", CHAIN, public(KEY), KEY[:100]])
def test_what_is_no_key_is_refused(key: str) -> None:
    assert "credentials.certificate_key is no private key in PEM" in _fault({"chain": CHAIN, "key": key})


def test_an_encrypted_key_is_refused() -> None:
    locked = pem(loaded(KEY), b"a passphrase")
    assert "credentials.certificate_key is encrypted" in _fault({"chain": CHAIN, "key": locked})


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SecretNotFound, match=f"{PATH}.*no such file"):
        Issuer(BY_FILE, {"key": KEY}).issue()


# ----------------------------------------------------------------------------------------------------------- the endpoints


def test_a_discovered_alias_is_where_the_certificate_is_asked_for() -> None:
    settings = replace(BY_FILE, token_url=None, issuer="https://idp.example")
    alias = {"token_endpoint": "https://mtls.idp.example/token"}
    metadata = answer(body={"issuer": "https://idp.example", "token_endpoint": URL, "mtls_endpoint_aliases": alias})
    issuer = Issuer(settings, {"key": KEY}, {PATH: CHAIN})
    issuer.issue(metadata, answer())
    assert [request.url for request in issuer.sent][1] == "https://mtls.idp.example/token"
    assert issuer.sent[0].client_certificate is None


@pytest.mark.parametrize(
    "alias", [{"token_endpoint": "https://canary.example/token"}, {"token_endpoint": "http://idp.example/token"}]
)
def test_an_alias_is_held_to_the_same_rules(alias: dict[str, str]) -> None:
    settings = replace(BY_FILE, token_url=None, issuer="https://idp.example")
    metadata = answer(body={"issuer": "https://idp.example", "token_endpoint": URL, "mtls_endpoint_aliases": alias})
    issuer = Issuer(settings, {"key": KEY}, {PATH: CHAIN})
    with pytest.raises(Exception, match="token_endpoint") as caught:
        issuer.issue(metadata, answer())
    assert "canary" not in str(caught.value)
    assert len(issuer.sent) == 1


@pytest.mark.parametrize("missing", ["certificate", "certificate_key", "client_id"])
def test_a_missing_setting_is_named(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"credentials\.{missing} is missing"):
        OAuth2Provider().plan(REQUEST, Issuer(replace(BY_FILE, **{missing: None})).profile)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"token_url": "http://127.0.0.1/token"}, "token_url"),
        ({"token_url": None, "issuer": "http://127.0.0.1"}, "issuer"),
        ({"revocation_url": "http://127.0.0.1/revoke"}, "revocation_url"),
    ],
)
def test_plain_http_presents_no_certificate(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"credentials\.{field} is plain http, which presents no client cert"):
        OAuth2Provider().plan(REQUEST, Issuer(replace(BY_FILE, **change)).profile)


def test_an_rsa_pair_is_presented_too() -> None:
    key = rsa_key()
    seen: list[HttpRequest] = []

    def take(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return answer()

    taking: Callable[[HttpRequest], HttpResponse] = take
    Issuer(BY_REFERENCE, {"chain": certificate(key), "key": key}).issue(taking)
    assert seen[0].client_certificate is not None
    assert "PRIVATE KEY" not in repr(seen)
