"""Tokens of another's making, shown to an issuer: as the client's assertion and as the grant (RFC 7523 2.2, 2.1)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.servers.cluster import projected_token
from tests.unit.providers.fake_issuer import NOW, SECRET, SETTINGS, URL, Issuer, answer, form, reference, refusal

from credbroker.context import HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, Credential, DatabaseCredentials
from credbroker.errors import ConfigurationError, CredbrokerError, InsufficientLifetime, IssueDenied, SecretNotFound
from credbroker.profile import SubjectToken
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest
from credbroker.wire.token import ACCESS_TOKEN_TYPE, JWT_TYPE

PATH = "/var/run/secrets/tokens/idp"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PROVEN = replace(
    SETTINGS,
    token_endpoint_auth_method="private_key_jwt",
    client_secret=None,
    client_id=None,
    client_assertion=SubjectToken(file=PATH),
)
GRANTED = replace(
    SETTINGS,
    token_endpoint_auth_method="none",
    client_secret=None,
    client_id=None,
    grant_type="jwt-bearer",
    subject_token=SubjectToken(file=PATH),
)
FIRST, SECOND = projected_token(URL, now=NOW), projected_token(URL, now=NOW)
REFUSED = refusal("invalid_client", 401)
OF_PROFILE = SubjectToken(profile=("catalog", "pod"))


def proven(content: str = FIRST, **settings: Any) -> Issuer:
    return Issuer(replace(PROVEN, **settings), {}, {PATH: content})


def granted(content: str = FIRST, **settings: Any) -> Issuer:
    return Issuer(replace(GRANTED, **settings), {"oauth": SECRET}, {PATH: content})


class Others:
    """Another profile, whose token is replaced once somebody says that it was refused."""

    def __init__(self, *values: Credential) -> None:
        self.values = list(values)
        self.asked: list[CredentialRequest] = []
        self.refused: list[Credential] = []

    def get(self, request: CredentialRequest) -> Credential:
        self.asked.append(request)
        return self.values[0]

    def invalidate(self, request: CredentialRequest, value: Credential) -> bool:
        self.refused.append(value)
        if len(self.values) > 1:
            self.values.pop(0)
        return True


# -- as the proof of who the client is --------------------------------------------------------------------------------------


def test_the_token_in_the_file_is_the_assertion_and_says_alone_who_we_are() -> None:
    issuer = proven(FIRST + "\n")
    issuer.issue()
    assert issuer.forms() == [
        [
            ("grant_type", "client_credentials"),
            ("scope", "read"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", FIRST),
        ]
    ]
    assert "authorization" not in issuer.sent[0].headers


@pytest.mark.parametrize("client_id", ["svc", reference("name")])
def test_a_client_that_is_named_is_sent_beside_it(client_id: Any) -> None:
    issuer = replace(proven(client_id=client_id), secrets={"name": "svc"})
    issuer.issue()
    assert dict(issuer.forms()[0])["client_id"] == "svc"


def test_the_assertion_may_stand_in_a_secret() -> None:
    issuer = Issuer(replace(PROVEN, client_assertion=SubjectToken(secret=reference("token"))), {"token": FIRST})
    issuer.issue()
    assert dict(issuer.forms()[0])["client_assertion"] == FIRST


def test_the_assertion_may_be_another_profile_s_token() -> None:
    others = Others(AccessToken(SecretStr(FIRST)))
    issuer = Issuer(replace(PROVEN, client_assertion=OF_PROFILE), get=others.get, invalidate=others.invalidate)
    issuer.issue(request=CredentialRequest(kind="catalog", profile="production", actor="ana", run_id="42"))
    assert dict(issuer.forms()[0])["client_assertion"] == FIRST
    assert others.asked == [CredentialRequest(kind="catalog", profile="pod", actor="ana", run_id="42")]


def test_it_is_read_at_each_issue() -> None:
    issuer = proven()
    issuer.issue()
    issuer.files = {PATH: SECOND}
    issuer.issue()
    assert dict(issuer.forms()[0])["client_assertion"] == SECOND


class Replaced:
    """An issuer that refuses, while what the client holds is replaced behind its back."""

    def __init__(self, files: dict[str, str], content: str | None) -> None:
        self.files, self.content = files, content

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self.content is None:
            self.files.clear()
        else:
            self.files[PATH] = self.content
        return REFUSED


def _refused_while_replaced(content: str | None) -> list[str]:
    issuer = proven()
    context = issuer.context(answer(), answer())
    files = context.environment.files  # type: ignore[attr-defined]
    http = issuer.context(Replaced(files, content), answer()).http
    context = replace(context, http=http)
    with suppress(IssueDenied):
        OAuth2Provider().issue(CredentialRequest(kind="catalog", profile="production"), context)
    return [dict(form(request))["client_assertion"] for request in http.requests]  # type: ignore[attr-defined]


def test_one_that_was_replaced_meanwhile_is_sent_once_more() -> None:
    assert _refused_while_replaced(SECOND) == [FIRST, SECOND]


@pytest.mark.parametrize("content", [FIRST, None, "", FIRST[:80], projected_token(URL, now=NOW - timedelta(hours=2))])
def test_the_same_one_or_none_that_is_whole_and_alive_is_not(content: str | None) -> None:
    assert _refused_while_replaced(content) == [FIRST]


def test_a_profile_s_token_that_is_refused_is_issued_anew_and_sent_once_more() -> None:
    others = Others(AccessToken(SecretStr(FIRST)), AccessToken(SecretStr(SECOND)))
    issuer = Issuer(replace(PROVEN, client_assertion=OF_PROFILE), get=others.get, invalidate=others.invalidate)
    issuer.issue(REFUSED, answer())
    assert [dict(sent)["client_assertion"] for sent in issuer.forms()] == [FIRST, SECOND]
    assert others.refused == [AccessToken(SecretStr(FIRST))]


def test_two_refusals_are_not_followed_by_a_third_try() -> None:
    others = Others(AccessToken(SecretStr(FIRST)), AccessToken(SecretStr(SECOND)))
    issuer = Issuer(replace(PROVEN, client_assertion=OF_PROFILE), get=others.get, invalidate=others.invalidate)
    with pytest.raises(IssueDenied):
        issuer.issue(REFUSED, REFUSED, answer())
    assert (len(issuer.sent), len(others.refused)) == (2, 1)


@pytest.mark.parametrize(
    "refused", [REFUSED, refusal("unauthorized_client", 401), answer(401, b""), refusal("invalid_request")]
)
def test_a_refusal_leads_to_who_is_trusted_and_takes_no_right_away(refused: HttpResponse) -> None:
    with pytest.raises(IssueDenied, match=r"client_assertion: whether the issuer trusts who signed it.*its subject") as no:
        proven().issue(refused)
    assert not no.value.grant_denied
    assert FIRST not in str(no.value)


# -- as the grant ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jwt-bearer", JWT_BEARER])
def test_the_token_in_the_file_is_the_grant_and_nobody_asks_for_it(name: str) -> None:
    issuer = granted(FIRST + "\n", grant_type=name)
    assert issuer.issue().authorization_header() == "Bearer tok"
    assert issuer.forms() == [[("grant_type", JWT_BEARER), ("assertion", FIRST), ("scope", "read")]]
    assert "authorization" not in issuer.sent[0].headers


def test_a_client_proves_itself_beside_it_as_for_any_grant() -> None:
    issuer = granted(token_endpoint_auth_method="client_secret_post", client_id="svc", client_secret=reference("oauth"))
    issuer.issue()
    sent = dict(issuer.forms()[0])
    assert (sent["assertion"], sent["client_id"], sent["client_secret"]) == (FIRST, "svc", SECRET)


def test_the_client_s_assertion_and_the_grant_s_are_two() -> None:
    issuer = granted(token_endpoint_auth_method="private_key_jwt", client_assertion=SubjectToken(file="/other"))
    issuer.files = {PATH: FIRST, "/other": SECOND}
    issuer.issue()
    sent = dict(issuer.forms()[0])
    assert (sent["assertion"], sent["client_assertion"]) == (FIRST, SECOND)


def test_another_profile_s_token_is_the_grant_and_renewed_once() -> None:
    others = Others(AccessToken(SecretStr(FIRST)), AccessToken(SecretStr(SECOND)))
    issuer = Issuer(replace(GRANTED, subject_token=OF_PROFILE), get=others.get, invalidate=others.invalidate)
    issuer.issue(refusal("invalid_grant"), answer())
    assert [dict(sent)["assertion"] for sent in issuer.forms()] == [FIRST, SECOND]


def test_its_answer_is_a_plain_one_that_states_no_issued_token_type() -> None:
    assert granted().issue(answer(body={"access_token": "new", "token_type": "bearer", "expires_in": 60})).expires_at


def test_an_assertion_that_is_not_honoured_is_a_right_that_is_refused() -> None:
    with pytest.raises(
        IssueDenied, match="does not honour the assertion in subject_token: look whether it trusts who"
    ) as no:
        granted().issue(refusal("invalid_grant"))
    assert no.value.grant_denied


def test_a_grant_that_the_issuer_does_not_have_is_named() -> None:
    with pytest.raises(IssueDenied, match="must allow the jwt-bearer grant"):
        granted().issue(refusal("unsupported_grant_type"))


def test_a_clock_that_is_wrong_is_told_of_and_takes_no_right_away() -> None:
    with pytest.raises(IssueDenied, match="about 60 min ahead of the issuer's") as no:
        granted().issue(refusal("invalid_grant", date="Mon, 23 Nov 2026 01:00:00 GMT"))
    assert not no.value.grant_denied


# -- what is not sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [proven, granted])
@pytest.mark.parametrize(
    ("content", "error", "why"),
    [
        ("", SecretNotFound, "is empty"),
        (FIRST[:80], SecretNotFound, "holds no whole JWT"),
        (FIRST.rpartition(".")[0] + ".", SecretNotFound, "holds no whole JWT"),
        ("opaque", SecretNotFound, "holds no whole JWT"),
        (projected_token(URL, now=NOW - timedelta(hours=1)), InsufficientLifetime, "0 s ago by this machine's clock"),
        (projected_token(URL, now=NOW - timedelta(hours=3)), InsufficientLifetime, "120 min ago by this machine's clock"),
    ],
)
def test_what_is_half_written_or_over_stays_here(make: Any, content: str, error: type[CredbrokerError], why: str) -> None:
    issuer = make(content)
    with pytest.raises(error, match=why) as caught:
        issuer.issue()
    assert type(caught.value) is error
    assert PATH in str(caught.value)
    assert issuer.sent == []


def test_what_is_over_in_a_secret_stays_here_too() -> None:
    issuer = Issuer(
        replace(GRANTED, subject_token=SubjectToken(secret=reference("token"))),
        {"token": projected_token(URL, now=NOW - timedelta(hours=3))},
    )
    with pytest.raises(InsufficientLifetime, match=r"the secret of credentials\.subject_token holds a token that ended"):
        issuer.issue()
    assert issuer.sent == []


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (AccessToken(SecretStr("opaque")), "names 'pod', whose token is no JWT"),
        (DatabaseCredentials("u", password=SecretStr("p")), "names 'pod', whose credentials are no token"),
    ],
)
@pytest.mark.parametrize(
    "settings", [replace(PROVEN, client_assertion=OF_PROFILE), replace(GRANTED, subject_token=OF_PROFILE)]
)
def test_a_profile_that_gives_no_jwt_is_named(settings: Any, value: Credential, why: str) -> None:
    issuer = Issuer(settings, get=Others(value).get)
    with pytest.raises(ConfigurationError, match=why):
        issuer.issue()
    assert issuer.sent == []


@pytest.mark.parametrize("make", [proven, granted])
@pytest.mark.parametrize("refused", [REFUSED, refusal("invalid_grant"), refusal("invalid_request"), answer(400, b"canary")])
def test_a_token_is_in_no_error_and_no_frame_that_it_keeps(make: Any, refused: HttpResponse) -> None:
    with pytest.raises(CredbrokerError) as caught:
        make().issue(refused)
    shown, trace = [str(caught.value), repr(caught.value)], caught.tb.tb_next
    while trace is not None:
        shown.append(repr({name: one for name, one in trace.tb_frame.f_locals.items() if name not in ("self", "context")}))
        trace = trace.tb_next
    assert FIRST.split(".")[2] not in "".join(shown)


# -- the plan --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            replace(PROVEN, token_endpoint_auth_method="client_secret_post"),
            "client_assertion is set, and token_endpoint_auth",
        ),
        (replace(PROVEN, private_key=reference("key")), "client_assertion is set beside private_key"),
        (replace(PROVEN, key_id="k1"), "client_assertion is set beside key_id"),
        (replace(PROVEN, signing_alg="RS256"), "client_assertion is set beside signing_alg"),
        (
            replace(PROVEN, client_assertion=SubjectToken()),
            r"client_assertion must name exactly one of file, secret_ref and",
        ),
        (replace(PROVEN, client_assertion=SubjectToken(url="https://x")), "must name exactly one of file"),
        (
            replace(PROVEN, client_assertion=SubjectToken(file=PATH, aws="imds")),
            "client_assertion must name exactly one of file",
        ),
        (
            replace(PROVEN, client_assertion=SubjectToken(profile=("catalog", "production"))),
            r"client_assertion\.profile is the profile itself",
        ),
        (replace(PROVEN, client_assertion=None), r"client_id is missing"),
        (replace(GRANTED, subject_token=None), "subject_token is missing"),
        (replace(GRANTED, subject_token_type=ACCESS_TOKEN_TYPE), "subject_token_type is no JWT's"),
        (replace(GRANTED, parameters={"assertion": "x"}), r"parameters\.assertion says again"),
    ],
)
def test_settings_that_cannot_work_are_named_when_the_handle_is_made(settings: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        OAuth2Provider().plan(CredentialRequest(kind="catalog", profile="production"), Issuer(settings).profile)


def test_a_jwt_may_be_called_one() -> None:
    granted(subject_token_type=JWT_TYPE).issue()
