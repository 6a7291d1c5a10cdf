"""Token exchange (RFC 8693): where the subject token comes from, what is asked for it, and what is taken in return."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.providers.fake_issuer import REQUEST, SECRET, SETTINGS, Issuer, answer, reference, refusal

from credbroker.credentials import AccessToken, Credential, DatabaseCredentials
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.granting import check_grant
from credbroker.profile import SubjectToken
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
JWT = "e30.e30.canary-signature"
PATH = "/var/run/secrets/token"
OF_FILE = replace(SETTINGS, grant_type=EXCHANGE, subject_token=SubjectToken(file=PATH))
OF_SECRET = replace(SETTINGS, grant_type="token-exchange", subject_token=SubjectToken(secret=reference("subject")))
OF_PROFILE = replace(SETTINGS, grant_type="token-exchange", subject_token=SubjectToken(profile=("compute", "idp")))
EXCHANGED = {"access_token": "new", "issued_token_type": f"{TYPE}access_token", "token_type": "Bearer", "expires_in": 60}
HELD = AccessToken(SecretStr("canary-held"), scopes=frozenset({"read", "list"}))


class Others:
    """Another profile: the tokens that it gives one after the other, and whether it lets go of one."""

    def __init__(self, *values: Credential, gone: bool = True) -> None:
        self.values = list(values)
        self.asked: list[CredentialRequest] = []
        self.refused: list[tuple[CredentialRequest, Credential]] = []
        self.gone = gone

    def get(self, request: CredentialRequest) -> Credential:
        self.asked.append(request)
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]

    def invalidate(self, request: CredentialRequest, value: Credential) -> bool:
        self.refused.append((request, value))
        return self.gone


def _of_profile(others: Others, **settings: Any) -> Issuer:
    return Issuer(replace(OF_PROFILE, **settings), get=others.get, invalidate=others.invalidate)


def _of_file(content: str = JWT, **settings: Any) -> Issuer:
    return Issuer(replace(OF_FILE, **settings), files={PATH: content})


# ----------------------------------------------------------------------------------------------------------- the subject


def test_a_file_s_token_is_exchanged_for_an_access_token() -> None:
    issuer = _of_file(f"{JWT}\n", audience="polaris")
    assert issuer.issue(answer(body=EXCHANGED)).authorization_header() == "Bearer new"
    assert issuer.forms() == [
        [
            ("grant_type", EXCHANGE),
            ("subject_token", JWT),
            ("subject_token_type", f"{TYPE}jwt"),
            ("requested_token_type", f"{TYPE}access_token"),
            ("scope", "read"),
            ("audience", "polaris"),
        ]
    ]
    assert issuer.sent[0].headers["authorization"].startswith("Basic ")


def test_a_secret_s_token_is_exchanged() -> None:
    issuer = Issuer(OF_SECRET, {"oauth": SECRET, "subject": JWT})
    issuer.issue(answer(body=EXCHANGED))
    assert dict(issuer.forms()[0])["subject_token"] == JWT
    assert dict(issuer.forms()[0])["subject_token_type"] == f"{TYPE}jwt"


def test_another_profile_s_token_is_exchanged_for_the_same_actor_and_run() -> None:
    others = Others(HELD)
    issuer = _of_profile(others)
    issuer.issue(answer(body=EXCHANGED), request=replace(REQUEST, principal="p", actor="ana", run_id="42"))
    assert others.asked == [CredentialRequest(kind="compute", profile="idp", principal="p", actor="ana", run_id="42")]
    assert dict(issuer.forms()[0])["subject_token"] == "canary-held"
    assert dict(issuer.forms()[0])["subject_token_type"] == f"{TYPE}access_token"


def test_the_type_of_the_subject_is_the_profile_s_to_say() -> None:
    issuer = _of_file("an-opaque-token", subject_token_type=f"{TYPE}access_token")
    issuer.issue(answer(body=EXCHANGED))
    assert dict(issuer.forms()[0])["subject_token_type"] == f"{TYPE}access_token"


def test_the_file_is_read_at_each_issue() -> None:
    issuer = _of_file()
    issuer.issue(answer(body=EXCHANGED))
    issuer.files = {PATH: "e30.e30.second"}
    issuer.issue(answer(body=EXCHANGED))
    assert dict(issuer.forms()[0])["subject_token"] == "e30.e30.second"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("e30.e30", "holds no whole JWT"),
        ("e30.e30.", "holds no whole JWT"),
        ("canary", "holds no whole JWT"),
        ("canary one.two.three", "holds no token of visible ASCII"),
        ("canäry.two.three", "holds no token of visible ASCII"),
        ("e30.e30.x\r\nX: y", "holds no token of visible ASCII"),
    ],
)
def test_a_file_that_is_half_written_is_named_and_nothing_is_sent(content: str, fault: str) -> None:
    issuer = _of_file(content)
    with pytest.raises(SecretNotFound, match=fault) as caught:
        issuer.issue()
    assert PATH in str(caught.value)
    assert "can" not in str(caught.value).replace("cannot", "")
    assert issuer.sent == []


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SecretNotFound, match=f"{PATH}.*no such file"):
        Issuer(OF_FILE).issue()


def test_a_secret_that_is_no_token_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"subject_token\.secret_ref names a secret that holds no whole JWT"):
        Issuer(OF_SECRET, {"oauth": SECRET, "subject": "canary"}).issue()


def test_a_profile_that_gives_no_token_has_nothing_to_exchange() -> None:
    with pytest.raises(ConfigurationError, match="whose credentials are no token"):
        _of_profile(Others(DatabaseCredentials("u", password=SecretStr("p")))).issue()


# ------------------------------------------------------------------------------------------------------------ the client


def test_an_exchange_may_be_asked_for_by_nobody() -> None:
    issuer = _of_file(token_endpoint_auth_method="none", client_id=None, client_secret=None)
    issuer.issue(answer(body=EXCHANGED))
    assert "client_id" not in dict(issuer.forms()[0])
    assert "authorization" not in issuer.sent[0].headers


def test_a_client_that_is_refused_presents_its_next_secret_and_the_same_subject() -> None:
    others = Others(HELD)
    issuer = replace(_of_profile(others), secrets={"oauth": SECRET, "oauth-next": "other"})
    issuer.issue(refusal("invalid_client", 401), answer(body=EXCHANGED))
    assert len(issuer.sent) == 2
    assert (len(others.asked), others.refused) == (1, [])


# ------------------------------------------------------------------------------------------------------------ the answer


@pytest.mark.parametrize("kind", ["access_token", "jwt"])
@pytest.mark.parametrize("token_type", ["N_A", "n_a", "Bearer", "bearer"])
def test_what_is_issued_is_presented_as_a_bearer(kind: str, token_type: str) -> None:
    token = _of_file().issue(answer(body=EXCHANGED | {"token_type": token_type, "issued_token_type": f"{TYPE}{kind}"}))
    assert token.authorization_header() == "Bearer new"


@pytest.mark.parametrize("kind", [f"{TYPE}refresh_token", f"{TYPE}id_token", f"{TYPE}saml2", "canary", 1, []])
@pytest.mark.parametrize("token_type", ["N_A", "Bearer"])
def test_what_is_no_access_token_is_malformed(kind: object, token_type: str) -> None:
    with pytest.raises(MalformedResponse, match="no access token") as caught:
        _of_file().issue(answer(body=EXCHANGED | {"token_type": token_type, "issued_token_type": kind}))
    assert "canary" not in str(caught.value)


def test_a_token_of_no_stated_kind_is_taken_only_where_it_is_called_a_bearer() -> None:
    body = {name: value for name, value in EXCHANGED.items() if name != "issued_token_type"}
    assert _of_file().issue(answer(body=body)).authorization_header() == "Bearer new"
    with pytest.raises(MalformedResponse):
        _of_file().issue(answer(body=body | {"token_type": "N_A"}))


def test_a_scope_that_is_wider_than_asked_is_refused() -> None:
    issuer = _of_file()
    token = issuer.issue(answer(body=EXCHANGED | {"scope": "read write"}))
    with pytest.raises(MalformedResponse, match="granted 1 more scope"):
        check_grant(REQUEST, issuer.profile, token)


def test_an_exchange_that_asks_for_no_scope_gives_no_more_than_the_subject_s() -> None:
    issuer = _of_profile(Others(HELD), scope=None)
    assert issuer.issue(answer(body=EXCHANGED | {"scope": "read"})).scopes == {"read"}
    with pytest.raises(MalformedResponse, match=r"1 scope\(s\) more"):
        issuer.issue(answer(body=EXCHANGED | {"scope": "read write"}))


# --------------------------------------------------------------------------------------------------------- the refusal


@pytest.mark.parametrize("refused", [refusal("invalid_grant"), refusal("invalid_request"), answer(401, b"")])
def test_a_profile_s_token_that_is_refused_is_renewed_and_tried_once_more(refused: Any) -> None:
    others = Others(HELD, AccessToken(SecretStr("renewed")))
    issuer = _of_profile(others)
    issuer.issue(refused, answer(body=EXCHANGED))
    assert [dict(form)["subject_token"] for form in issuer.forms()] == ["canary-held", "renewed"]
    assert others.refused == [(CredentialRequest(kind="compute", profile="idp"), HELD)]


def test_two_refusals_are_not_followed_by_a_third_try() -> None:
    others = Others(HELD)
    issuer = _of_profile(others)
    with pytest.raises(IssueDenied, match="does not honour the subject token") as caught:
        issuer.issue(refusal("invalid_grant"), refusal("invalid_grant"), answer(body=EXCHANGED))
    assert caught.value.grant_denied
    assert (len(issuer.sent), len(others.refused)) == (2, 1)


def test_a_token_that_its_profile_keeps_is_not_tried_again() -> None:
    others = Others(HELD, gone=False)
    issuer = _of_profile(others)
    with pytest.raises(IssueDenied):
        issuer.issue(refusal("invalid_grant"), answer(body=EXCHANGED))
    assert len(issuer.sent) == 1


@pytest.mark.parametrize(
    "refused", [refusal("invalid_scope"), refusal("invalid_client", 401), refusal("access_denied", 403)]
)
def test_another_refusal_says_nothing_about_the_subject(refused: Any) -> None:
    others = Others(HELD)
    issuer = _of_profile(others)
    with pytest.raises(IssueDenied):
        issuer.issue(refused, answer(body=EXCHANGED))
    assert others.refused == []


def test_a_busy_issuer_says_nothing_about_the_subject() -> None:
    others = Others(HELD)
    with pytest.raises(IssuerUnavailable):
        _of_profile(others).issue(answer(503, {"error": "invalid_grant"}), answer(body=EXCHANGED))
    assert others.refused == []


@pytest.mark.parametrize("settings", [OF_FILE, OF_SECRET])
def test_a_file_s_or_a_secret_s_token_is_not_sent_twice(settings: Any) -> None:
    issuer = Issuer(settings, {"oauth": SECRET, "subject": JWT}, {PATH: JWT})
    with pytest.raises(IssueDenied):
        issuer.issue(refusal("invalid_grant"), answer(body=EXCHANGED))
    assert len(issuer.sent) == 1


def test_a_clock_that_is_wrong_is_told_of() -> None:
    with pytest.raises(IssueDenied, match="about 60 min ahead of the issuer's") as caught:
        _of_file().issue(refusal("invalid_grant", date="Mon, 23 Nov 2026 01:00:00 GMT"))
    assert not caught.value.grant_denied


def test_a_grant_that_the_issuer_does_not_have_is_named() -> None:
    with pytest.raises(IssueDenied, match="must allow the token-exchange grant"):
        _of_file().issue(refusal("unsupported_grant_type"))


@pytest.mark.parametrize("refused", [refusal("invalid_request"), refusal("invalid_grant"), answer(400, b"canary")])
def test_the_subject_is_in_no_error_and_no_frame_that_it_keeps(refused: Any) -> None:
    for issuer in (_of_file(), _of_profile(Others(HELD, gone=False)), Issuer(OF_SECRET, {"oauth": SECRET, "subject": JWT})):
        with pytest.raises(CredbrokerError) as caught:
            issuer.issue(refused)
        shown, trace = [str(caught.value), repr(caught.value)], caught.tb.tb_next
        while trace is not None:
            shown.append(
                repr({name: one for name, one in trace.tb_frame.f_locals.items() if name not in ("self", "context")})
            )
            trace = trace.tb_next
        assert "canary" not in "".join(shown)


# -------------------------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (replace(SETTINGS, grant_type=EXCHANGE), "subject_token is missing"),
        (
            replace(SETTINGS, subject_token=SubjectToken(file=PATH)),
            "subject_token is set, and grant_type is client_credentials",
        ),
        (replace(OF_FILE, subject_token=SubjectToken()), "must name exactly one of file, secret_ref and profile"),
        (
            replace(OF_FILE, subject_token=SubjectToken(file=PATH, profile=("compute", "idp"))),
            "must name exactly one of file, secret_ref and profile",
        ),
        (replace(OF_FILE, subject_token=SubjectToken(profile=("catalog", "production"))), "is the profile itself"),
    ],
)
def test_a_subject_that_cannot_be_is_refused_before_anything_is_read(settings: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        OAuth2Provider().plan(REQUEST, Issuer(settings).profile)
