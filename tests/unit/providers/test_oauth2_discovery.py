"""An issuer that is asked for its endpoints (RFC 8414): where, and which of its answers are followed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.providers.fake_issuer import REQUEST, SETTINGS, URL, Issuer, answer, reference

from credbroker.context import HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable, MalformedResponse
from credbroker.providers.oauth2 import OAuth2Provider

ISSUER = "https://idp.example/tenant/a"
OAUTH = "https://idp.example/.well-known/oauth-authorization-server/tenant/a"
OPENID = "https://idp.example/tenant/a/.well-known/openid-configuration"
DISCOVERED = replace(SETTINGS, token_url=None, issuer=ISSUER)


def _metadata(issuer: str = ISSUER, **more: Any) -> HttpResponse:
    return answer(body={"issuer": issuer, "token_endpoint": URL, **more})


def _issue(*answers: Any, **options: Any) -> Issuer:
    issuer = Issuer(DISCOVERED, options=options)
    issuer.issue(*answers)
    return issuer


def _error(*answers: Any, settings: Any = DISCOVERED, **options: Any) -> CredbrokerError:
    issuer = Issuer(settings, options=options)
    with pytest.raises(CredbrokerError) as caught:
        issuer.issue(*answers)
    assert all(request.method == "GET" for request in issuer.sent), "a secret was sent"
    assert "canary" not in str(caught.value)
    return caught.value


def test_the_issuer_is_asked_where_the_rfc_says_then_its_token_endpoint() -> None:
    issuer = _issue(_metadata(), answer())
    assert [(sent.method, sent.url) for sent in issuer.sent] == [("GET", OAUTH), ("POST", URL)]
    assert issuer.sent[0].body is None
    assert "authorization" not in issuer.sent[0].headers


def test_an_issuer_without_that_place_is_asked_as_openid_has_it() -> None:
    issuer = _issue(answer(404, b"<html>"), _metadata(), answer())
    assert [sent.url for sent in issuer.sent] == [OAUTH, OPENID, URL]


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        (
            "https://idp.example",
            [
                "https://idp.example/.well-known/oauth-authorization-server",
                "https://idp.example/.well-known/openid-configuration",
            ],
        ),
        (
            "https://idp.example:8443/",
            [
                "https://idp.example:8443/.well-known/oauth-authorization-server",
                "https://idp.example:8443/.well-known/openid-configuration",
            ],
        ),
        (f"{ISSUER}/", [OAUTH, OPENID]),
    ],
)
def test_a_slash_at_the_end_of_the_issuer_makes_no_other_place(issuer: str, places: list[str]) -> None:
    asked = Issuer(replace(DISCOVERED, issuer=issuer))
    asked.issue(answer(404, {}), _metadata(issuer), answer())
    assert [sent.url for sent in asked.sent] == [*places, URL]


def test_each_issue_discovers_afresh() -> None:
    issuer = Issuer(DISCOVERED)
    context = issuer.context(_metadata(), answer(), _metadata(token_endpoint=f"{URL}/2"), answer())
    for _ in range(2):
        OAuth2Provider().issue(REQUEST, context)
    assert [sent.url for sent in issuer.sent] == [OAUTH, URL, OAUTH, f"{URL}/2"]


def test_a_token_url_saves_the_question() -> None:
    issuer = Issuer(replace(DISCOVERED, token_url=URL))
    issuer.issue()
    assert [sent.url for sent in issuer.sent] == [URL]


def test_an_issuer_comes_before_the_catalog_s_own_endpoint() -> None:
    assert _issue(_metadata(), answer(), uri="https://polaris.example/api/catalog").sent[1].url == URL


# ------------------------------------------------------------------------------------------------ who the issuer says it is


@pytest.mark.parametrize(
    ("configured", "stated", "remedy"),
    [(ISSUER, f"{ISSUER}/", f"write {ISSUER}/"), (f"{ISSUER}/", ISSUER, f"write {ISSUER}")],
)
def test_an_issuer_that_differs_by_a_slash_is_told_of_with_the_form_to_write(
    configured: str, stated: str, remedy: str
) -> None:
    error = _error(_metadata(stated), settings=replace(DISCOVERED, issuer=configured))
    assert isinstance(error, ConfigurationError)
    assert "differs by a trailing '/'" in str(error)
    assert str(error).endswith(remedy)


@pytest.mark.parametrize(
    "stated", ["https://canary.example", f"{ISSUER}//", ISSUER.upper(), f"{ISSUER}?canary", None, 1, ["canary"], ""]
)
def test_an_issuer_that_calls_itself_otherwise_is_refused_and_not_quoted(stated: Any) -> None:
    error = _error(_metadata(stated))
    assert isinstance(error, ConfigurationError)
    assert "credentials.issuer is not what the issuer calls itself" in str(error)


# ------------------------------------------------------------------------------------------------- where it sends secrets


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://idp.example/t",
        "https://login.idp.example/t?p=1",
        "https://IDP.example:8443/t",
        "https://tokens.cloud.example/t",
        "https://a.other.example/t",
    ],
)
def test_the_issuer_s_own_host_one_below_and_an_allowed_one_are_followed(endpoint: str) -> None:
    hosts = ("tokens.cloud.example", "*.other.example")
    issuer = _issue(_metadata(token_endpoint=endpoint), answer(), allowed_hosts=hosts)
    assert issuer.sent[1].url == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://canary.example/t",
        "https://notidp.example/t",
        "https://idp.example.canary.example/t",
        "https://example/t",
        "https://127.0.0.1/t",
        "http://idp.example/t",
        "http://127.0.0.1/canary",
        "https://user:canary@idp.example/t",
        "https://idp.example/t#canary",
        "https://idp.example\\@canary.example/t",
        "https://idp.example /t",
        "https://idp.example:x/t",
        "file:///canary",
        "/t",
        "",
        7,
    ],
)
def test_any_other_endpoint_is_refused_and_not_quoted(endpoint: Any) -> None:
    error = _error(_metadata(token_endpoint=endpoint), allowed_hosts=("tokens.cloud.example",))
    assert isinstance(error, MalformedResponse)
    assert OAUTH in str(error)
    assert "credentials.token_url" in str(error)


def test_an_endpoint_that_is_not_asked_for_keeps_nobody_from_a_token() -> None:
    assert len(_issue(_metadata(revocation_endpoint="https://other.example/revoke"), answer()).sent) == 2


def test_plain_http_is_no_way_down_from_https_even_where_it_is_allowed() -> None:
    error = _error(_metadata(token_endpoint="http://idp.example/t"), production=False, allow_insecure=True)
    assert isinstance(error, MalformedResponse)


def test_metadata_without_a_token_endpoint_is_malformed() -> None:
    assert "names no token_endpoint" in str(_error(answer(body={"issuer": ISSUER})))


# --------------------------------------------------------------------------------------------- how one may authenticate


def test_a_method_that_the_issuer_does_not_offer_names_those_that_it_does() -> None:
    offered = ["private_key_jwt", "canary", "client_secret_post", 7]
    error = _error(_metadata(token_endpoint_auth_methods_supported=offered))
    assert isinstance(error, ConfigurationError)
    assert "credentials.token_endpoint_auth_method is 'client_secret_basic'" in str(error)
    assert str(error).endswith("it offers client_secret_post, private_key_jwt")


@pytest.mark.parametrize("offered", [["client_secret_basic"], None, "client_secret_post"])
def test_a_method_that_is_offered_or_not_spoken_of_is_used(offered: Any) -> None:
    assert len(_issue(_metadata(token_endpoint_auth_methods_supported=offered), answer()).sent) == 2


def test_an_alias_for_mutual_tls_is_for_mutual_tls_only() -> None:
    assert _issue(_metadata(mtls_endpoint_aliases={"token_endpoint": f"{URL}/mtls"}), answer()).sent[1].url == URL


# ---------------------------------------------------------------------------------------------------------- bad answers


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_issuer_is_asked_again_after_the_time_it_names(status: int) -> None:
    error = _error(answer(status, b"canary", retry_after="9"))
    assert isinstance(error, IssuerUnavailable)
    assert error.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize("body", [b"<html>canary", b"[]", b"", b'"canary"'])
def test_what_is_no_metadata_is_malformed(body: bytes) -> None:
    assert isinstance(_error(answer(200, body)), MalformedResponse)


def test_an_issuer_that_answers_nowhere_is_misconfigured() -> None:
    error = _error(answer(404, b""), answer(404, b""))
    assert isinstance(error, ConfigurationError)
    assert "credentials.issuer has no metadata" in str(error)


def test_a_refusal_is_no_metadata() -> None:
    assert isinstance(_error(answer(403, {"issuer": ISSUER})), MalformedResponse)


# ------------------------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    "issuer",
    ["http://idp.example", "https://idp.example?x", "https://idp.example#x", "idp.example", "https://u@idp.example"],
)
def test_an_issuer_that_is_no_https_url_is_refused(issuer: str) -> None:
    for settings in (replace(DISCOVERED, issuer=issuer), replace(DISCOVERED, issuer=issuer, token_url=URL)):
        with pytest.raises(ConfigurationError, match=r"credentials\.issuer"):
            OAuth2Provider().plan(REQUEST, Issuer(settings).profile)


def test_a_revocation_url_is_checked_too() -> None:
    settings = replace(SETTINGS, revocation_url="http://idp.example/revoke", client_secret=reference("oauth"))
    with pytest.raises(ConfigurationError, match=r"credentials\.revocation_url"):
        OAuth2Provider().plan(REQUEST, Issuer(settings).profile)
