from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from credbroker.context import Connection, Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.profile import CatalogProfile, ComputeProfile, CredentialSettings, Profile, StorageProfile
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import Access, CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.testing import FakeHttp

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
URL = "https://polaris.internal/api/catalog/v1/oauth/tokens"
REQUEST = CredentialRequest(kind="catalog", profile="production")
SETTINGS = CredentialSettings(
    mode="oauth2",
    token_url=URL,
    client_id="svc",
    client_secret=SecretReference(secret_ref="oauth", next="oauth-next"),
    scope="PRINCIPAL_ROLE:ENGINEER",
)
PROFILE = CatalogProfile(name="production", uri="https://polaris.internal/api/catalog", credentials=SETTINGS)


class Vault:
    """Secrets that may be replaced while a test runs; a list is read off, one at each look."""

    def __init__(self, **secrets: str | list[str]) -> None:
        self.secrets = {name.replace("_", "-"): value for name, value in secrets.items()}
        self.looked: list[str] = []

    def resolve(self, reference: SecretReference) -> SecretStr:
        self.looked.append(reference.secret_ref)
        found = self.secrets.get(reference.secret_ref)
        if found is None:
            raise SecretNotFound(f"secret {reference.secret_ref!r} not found")
        return SecretStr(found.pop(0) if isinstance(found, list) else found)


def _answer(status: int = 200, body: object = None, **headers: str) -> HttpResponse:
    if body is None:
        body = {"access_token": "tok", "token_type": "bearer", "expires_in": 3600}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW, NOW)


def _context(http: Any, profile: Profile = PROFILE, vault: Vault | None = None) -> Context:
    secrets = vault or Vault(oauth="first", oauth_next="second")
    return Context(http=http, secrets=secrets, profile=profile, remaining=lambda: 7.5)


def _issue(
    *answers: Any, settings: CredentialSettings = SETTINGS, request: CredentialRequest = REQUEST, **options: Any
) -> FakeHttp:
    http = FakeHttp(*(answers or (_answer(),)))
    OAuth2Provider().issue(request, _context(http, replace(PROFILE, credentials=settings), **options))
    return http


def _form(request: HttpRequest) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs((request.body or b"").decode(), strict_parsing=True).items()}


def _basic(request: HttpRequest) -> str:
    kind, _, encoded = request.headers["authorization"].partition(" ")
    assert kind == "Basic"
    return b64decode(encoded).decode()


def _refusal(answer: HttpResponse, **options: Any) -> CredbrokerError:
    with pytest.raises(CredbrokerError) as caught:
        _issue(answer, **options)
    return caught.value


# ----------------------------------------------------------------------------------------------------------- the request


def test_the_client_presents_itself_by_basic_and_asks_for_its_scope() -> None:
    (sent,) = _issue().requests
    assert (sent.method, sent.url) == ("POST", URL)
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert _basic(sent) == "svc:first"
    assert _form(sent) == {"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ENGINEER"}


def test_the_client_presents_itself_in_the_form_if_told_to() -> None:
    (sent,) = _issue(settings=replace(SETTINGS, token_endpoint_auth_method="client_secret_post")).requests
    assert "authorization" not in sent.headers
    assert _form(sent)["client_id"] == "svc"
    assert _form(sent)["client_secret"] == "first"


def test_basic_is_form_encoded_as_the_rfc_has_it() -> None:
    settings = replace(SETTINGS, client_id="a:b c")
    (sent,) = _issue(settings=settings, vault=Vault(oauth="p+%:&=ü")).requests
    assert _basic(sent) == "a%3Ab+c:p%2B%25%3A%26%3D%C3%BC"


def test_basic_is_raw_if_told_to() -> None:
    (sent,) = _issue(settings=replace(SETTINGS, basic_encoding="raw"), vault=Vault(oauth="p+%:&=")).requests
    assert _basic(sent) == "svc:p+%:&="


def test_a_client_id_that_raw_basic_cannot_carry_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="client_id"):
        _issue(settings=replace(SETTINGS, basic_encoding="raw", client_id="a:b"))


@given(client_id=st.text(min_size=1), secret=st.text(min_size=1))
def test_every_client_can_be_presented_and_read_back(client_id: str, secret: str) -> None:
    (sent,) = _issue(settings=replace(SETTINGS, client_id=client_id), vault=Vault(oauth=secret)).requests
    name, _, password = _basic(sent).partition(":")
    assert (unquote_plus(name), unquote_plus(password)) == (client_id, secret)
    assert sent.headers["authorization"].isascii()


def test_the_scope_by_access_is_asked_for_where_there_is_one() -> None:
    settings = replace(SETTINGS, scopes={Access.READ: "PRINCIPAL_ROLE:ANALYST"})
    asked = {
        access: _form(_issue(settings=settings, request=replace(REQUEST, access=access)).requests[0])["scope"]
        for access in (Access.READ, Access.READ_WRITE, None)
    }
    assert asked == {
        Access.READ: "PRINCIPAL_ROLE:ANALYST",
        Access.READ_WRITE: "PRINCIPAL_ROLE:ENGINEER",
        None: "PRINCIPAL_ROLE:ENGINEER",
    }


def test_a_scope_that_the_caller_asks_for_wins_over_both() -> None:
    settings = replace(SETTINGS, scopes={Access.READ: "r"})
    request = replace(REQUEST, access=Access.READ, scopes=frozenset({"b", "a"}))
    assert _form(_issue(settings=settings, request=request).requests[0])["scope"] == "a b"


def test_without_any_scope_none_is_sent() -> None:
    assert "scope" not in _form(_issue(settings=replace(SETTINGS, scope=None)).requests[0])


def test_the_audience_is_the_profile_s_or_the_caller_s() -> None:
    settings = replace(SETTINGS, audience="lake")
    assert _form(_issue(settings=settings).requests[0])["audience"] == "lake"
    assert _form(_issue(request=replace(REQUEST, audience="other")).requests[0])["audience"] == "other"


@pytest.mark.parametrize("uri", ["https://polaris.internal/api/catalog", "https://polaris.internal/api/catalog/"])
def test_without_a_token_url_the_catalog_s_own_endpoint_is_asked(uri: str) -> None:
    http = FakeHttp(_answer())
    profile = replace(PROFILE, uri=uri, credentials=replace(SETTINGS, token_url=None))
    OAuth2Provider().issue(REQUEST, _context(http, profile))
    assert http.requests[0].url == URL


def test_uri_and_client_id_may_stand_in_secrets() -> None:
    settings = replace(SETTINGS, token_url=None, client_id=SecretReference(secret_ref="id"))
    profile = replace(PROFILE, uri=SecretReference(secret_ref="uri"), credentials=settings)
    http = FakeHttp(_answer())
    vault = Vault(oauth="first", id="svc-2", uri="https://polaris.internal/api/catalog")
    OAuth2Provider().issue(REQUEST, _context(http, profile, vault))
    assert http.requests[0].url == URL
    assert _basic(http.requests[0]) == "svc-2:first"


def test_a_uri_from_a_secret_is_checked_before_anything_is_sent() -> None:
    profile = replace(PROFILE, uri=SecretReference(secret_ref="uri"), credentials=replace(SETTINGS, token_url=None))
    http = FakeHttp(_answer())
    with pytest.raises(ConfigurationError, match="plain http"):
        OAuth2Provider().issue(REQUEST, _context(http, profile, Vault(oauth="first", uri="http://polaris.internal")))
    assert http.requests == []


def test_the_flight_s_time_and_the_profile_s_insecurity_are_handed_to_the_transport() -> None:
    told: dict[str, object] = {}

    class Http:
        def send(self, request: HttpRequest, **options: object) -> HttpResponse:
            told.update(options)
            return _answer()

    def note(connection: Connection) -> None: ...

    profile = replace(PROFILE, production=False, allow_insecure=True)
    OAuth2Provider().issue(REQUEST, replace(_context(Http(), profile), on_connection=note))
    assert told == {"timeout": 7.4, "allow_insecure": True, "on_connection": note}


# ------------------------------------------------------------------------------------------------------------- the token


def test_the_token_lives_from_before_the_request() -> None:
    token = OAuth2Provider().issue(REQUEST, _context(FakeHttp(_answer())))
    assert token.expires_at == NOW + timedelta(hours=1)
    assert token.authorization_header() == "Bearer tok"


def test_a_token_without_a_lifetime_gets_the_profile_s() -> None:
    context = _context(
        FakeHttp(_answer(body={"access_token": "tok"})),
        replace(PROFILE, credentials=replace(SETTINGS, default_ttl=timedelta(minutes=5))),
    )
    assert OAuth2Provider().issue(REQUEST, context).expires_at == NOW + timedelta(minutes=5)


def test_a_jwt_without_a_lifetime_ends_by_our_clock_however_the_issuer_s_runs() -> None:
    end = int((NOW + timedelta(minutes=35)).timestamp())  # five minutes ahead there: half an hour
    body = {"access_token": f"e30.{_b64(json.dumps({'exp': end}))}.c2ln"}
    token = OAuth2Provider().issue(REQUEST, _context(FakeHttp(_answer(body=body, date="Sun, 22 Nov 2026 20:05:00 GMT"))))
    assert token.expires_at == NOW + timedelta(minutes=30, seconds=-1)


def _b64(text: str) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def test_a_token_that_is_over_on_arrival_is_insufficient() -> None:
    assert isinstance(_refusal(_answer(body={"access_token": "tok", "expires_in": 0})), InsufficientLifetime)


# ----------------------------------------------------------------------------------------------------------- the refusals


@pytest.mark.parametrize(
    ("status", "code", "grant_denied"),
    [
        (401, "invalid_client", False),
        (400, "invalid_client", False),
        (401, "unauthorized_client", False),
        (400, "unauthorized_client", False),
        (400, "invalid_scope", False),
        (400, "invalid_request", False),
        (400, "unsupported_grant_type", False),
        (400, "invalid_target", False),
        (400, "invalid_grant", True),
        (403, "access_denied", True),
    ],
)
def test_a_refusal_says_whether_the_grant_or_we_were_refused(status: int, code: str, grant_denied: bool) -> None:
    answer = _answer(status, {"error": code, "error_description": "canary"})
    error = _refusal(answer, vault=Vault(oauth="first"))
    assert isinstance(error, IssueDenied)
    assert error.grant_denied is grant_denied
    assert not error.retryable
    assert f"HTTP {status} {code}: " in str(error)
    assert "polaris.internal" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gateway_that_refuses_without_json_refused_us(status: int) -> None:
    error = _refusal(_answer(status, b"<html>canary"), vault=Vault(oauth="first"))
    assert isinstance(error, IssueDenied)
    assert not error.grant_denied


def test_a_refusal_with_a_code_of_its_own_is_a_denial_without_that_code() -> None:
    error = _refusal(_answer(400, {"error": "canary"}))
    assert isinstance(error, IssueDenied)
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [400, 404, 405, 410])
def test_another_refusal_that_is_no_json_is_malformed(status: int) -> None:
    error = _refusal(_answer(status, b"<html>canary"))
    assert isinstance(error, MalformedResponse)
    assert "token_url" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_issuer_is_asked_again_after_the_time_it_names(status: int) -> None:
    error = _refusal(_answer(status, b"canary", retry_after="12"))
    assert isinstance(error, IssuerUnavailable)
    assert error.retryable
    assert error.retry_after == timedelta(seconds=12)
    assert "canary" not in str(error)


@pytest.mark.parametrize("code", ["server_error", "temporarily_unavailable"])
def test_an_issuer_that_says_it_is_busy_in_a_refusal_is_busy(code: str) -> None:
    assert isinstance(_refusal(_answer(400, {"error": code})), IssuerUnavailable)


def test_a_catalog_that_leaves_tokens_to_others_is_told_apart() -> None:
    error = _refusal(_answer(501, b""))
    assert isinstance(error, IssuerUnavailable)
    assert "identity provider" in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", {"error": "invalid_client"}, {"access_token": ""}])
def test_a_success_without_a_token_is_malformed(body: object) -> None:
    assert isinstance(_refusal(_answer(200, body)), MalformedResponse)


# ----------------------------------------------------------------------------------------------------------- a rotation

REFUSED = _answer(401, {"error": "invalid_client"})


def _secrets_presented(http: FakeHttp) -> list[str]:
    return [_basic(request).partition(":")[2] for request in http.requests]


def test_a_refused_secret_is_followed_by_the_next_one_once() -> None:
    assert _secrets_presented(_issue(REFUSED, _answer())) == ["first", "second"]


def test_a_secret_that_was_replaced_meanwhile_comes_before_the_next_one() -> None:
    http = _issue(REFUSED, _answer(), vault=Vault(oauth=["first", "replaced"], oauth_next="second"))
    assert _secrets_presented(http) == ["first", "replaced"]


def test_polaris_refuses_a_client_as_unauthorized() -> None:
    assert _secrets_presented(_issue(_answer(401, {"error": "unauthorized_client"}), _answer())) == ["first", "second"]


def test_two_refusals_are_not_followed_by_a_third_try() -> None:
    http = FakeHttp(REFUSED, REFUSED, _answer())
    with pytest.raises(IssueDenied):
        OAuth2Provider().issue(REQUEST, _context(http))
    assert len(http.requests) == 2


@pytest.mark.parametrize("vault", [Vault(oauth="first"), Vault(oauth="first", oauth_next="first")])
def test_a_secret_that_was_refused_is_not_tried_again(vault: Vault) -> None:
    http = FakeHttp(REFUSED, _answer())
    with pytest.raises(IssueDenied):
        OAuth2Provider().issue(REQUEST, _context(http, vault=vault))
    assert len(http.requests) == 1


@pytest.mark.parametrize(
    "answer", [_answer(400, {"error": "invalid_scope"}), _answer(400, {"error": "unauthorized_client"}), _answer(500)]
)
def test_nothing_else_is_tried_twice(answer: HttpResponse) -> None:
    http = FakeHttp(answer, _answer())
    with pytest.raises(CredbrokerError):
        OAuth2Provider().issue(REQUEST, _context(http))
    assert len(http.requests) == 1


def test_the_secret_is_resolved_afresh_at_each_issue() -> None:
    vault = Vault(oauth=["one", "two"])
    http = FakeHttp(_answer(), _answer())
    for _ in range(2):
        OAuth2Provider().issue(REQUEST, _context(http, vault=vault))
    assert _secrets_presented(http) == ["one", "two"]


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SecretNotFound, match="oauth"):
        _issue(vault=Vault())


# -------------------------------------------------------------------------------------------------------------- the plan


def _plan(profile: Profile, request: CredentialRequest = REQUEST) -> str:
    with pytest.raises(ConfigurationError) as caught:
        OAuth2Provider().plan(request, profile)
    return str(caught.value)


def test_a_sound_profile_grants_no_policy_and_needs_no_secret() -> None:
    grant = OAuth2Provider().plan(REQUEST, PROFILE)
    assert (grant.policy, grant.locations, grant.access) == (None, None, None)


@pytest.mark.parametrize("field", ["client_id", "client_secret"])
def test_a_missing_field_is_named(field: str) -> None:
    block = replace(SETTINGS, **{field: None})  # type: ignore[arg-type]
    assert f"catalogs.production.credentials.{field} is missing" in _plan(replace(PROFILE, credentials=block))


def test_without_token_url_and_uri_the_token_url_is_missing() -> None:
    assert "credentials.token_url is missing" in _plan(
        replace(PROFILE, uri=None, credentials=replace(SETTINGS, token_url=None))
    )
    assert "token_url" in _plan(ComputeProfile(name="spark", credentials=replace(SETTINGS, token_url=None)))


def test_a_token_endpoint_over_plain_http_is_refused() -> None:
    assert "credentials.token_url" in _plan(
        replace(PROFILE, credentials=replace(SETTINGS, token_url="http://polaris.internal/t"))
    )
    assert "production.uri" in _plan(
        replace(PROFILE, uri="http://polaris.internal", credentials=replace(SETTINGS, token_url=None))
    )


@pytest.mark.parametrize("method", ["client_secret", "Basic", ""])
def test_an_authentication_method_that_is_not_known_names_those_that_are(method: str) -> None:
    assert "client_secret_basic" in _plan(replace(PROFILE, credentials=replace(SETTINGS, token_endpoint_auth_method=method)))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"scope": "x PRINCIPAL_ROLE:ALL"}, "scope"), ({"scopes": {Access.READ: "PRINCIPAL_ROLE:ALL"}}, "scopes.read")],
)
def test_every_role_at_once_is_refused_in_production_only(change: dict[str, Any], field: str) -> None:
    profile = replace(PROFILE, credentials=replace(SETTINGS, **change))
    fault = _plan(profile)
    assert f"credentials.{field} asks for PRINCIPAL_ROLE:ALL, refused in production" in fault
    assert "an absent 'environment:'" in fault
    OAuth2Provider().plan(REQUEST, replace(profile, production=False))


def test_every_role_at_once_is_refused_to_a_caller_in_production() -> None:
    fault = _plan(PROFILE, replace(REQUEST, scopes=frozenset({"PRINCIPAL_ROLE:ALL"})))
    assert "PRINCIPAL_ROLE:ALL is refused in production (which an absent 'environment:' means)" in fault


def test_a_storage_profile_has_no_use_for_a_token() -> None:
    assert "storage.lake.credentials.mode" in _plan(StorageProfile(name="lake", credentials=SETTINGS))


def test_settings_that_cannot_work_send_nothing() -> None:
    http = FakeHttp(_answer())
    vault = Vault(oauth="first")
    profile = replace(PROFILE, credentials=replace(SETTINGS, token_url="http://polaris.internal/t"))
    with pytest.raises(ConfigurationError):
        OAuth2Provider().issue(REQUEST, _context(http, profile, vault))
    assert http.requests == []
    assert vault.looked == []


# ------------------------------------------------------------------------------------------------------ what errors keep

CANARY = "canary-8c1e"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: REFUSED,
        lambda: _answer(500, CANARY.encode()),
        lambda: _answer(200, {"access_token": CANARY, "expires_in": -1}),
        lambda: _answer(400, CANARY.encode()),
    ],
)
def test_neither_the_secret_nor_the_token_is_in_an_error_or_a_frame_that_it_keeps(
    answer: Callable[[], HttpResponse],
) -> None:
    http = FakeHttp(lambda _: answer(), lambda _: answer())
    context = _context(http, vault=Vault(oauth=CANARY, oauth_next=CANARY + "-2"))
    try:
        OAuth2Provider().issue(REQUEST, context)
    except CredbrokerError as error:
        shown = [repr(error), str(error)]
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        while trace:
            shown.append(repr(trace.tb_frame.f_locals))
            trace = trace.tb_next
        assert len(shown) > 2
        assert CANARY not in "".join(shown)
    else:
        pytest.fail("it was taken")
