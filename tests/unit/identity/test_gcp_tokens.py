"""What STS, iamcredentials and the metadata server may answer, and what an error may keep of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote

import pytest
from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.identity import gcp_aws, gcp_impersonation, gcp_metadata, gcp_sts, gcp_subject
from credbroker.identity.aws import Keys
from credbroker.identity.gcp_impersonation import Impersonation
from credbroker.profile import SubjectToken
from credbroker.secrets.reference import SecretReference
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
CANARY = "canary-in-a-token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
POOL = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/pods/providers/cluster"
GOOGLES = {"metadata-flavor": "Google"}
WANTED = Impersonation("a@lab.iam.gserviceaccount.com", (), SCOPE, timedelta(minutes=30))
Act = Callable[[Context], tuple[SecretStr, float]]


def _answer(status: int, body: object, headers: dict[str, str] | None = None) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, headers or {}, raw, NOW, NOW + timedelta(seconds=1))


def _context(*answers: HttpResponse) -> tuple[Context, FakeHttp]:
    http = FakeHttp(*answers)
    return Context(http=http, clock=ManualClock(NOW)), http


def _shown(trace: TracebackType | None) -> str:
    """What an error tracker shows of every frame from ours on down."""
    frames = []
    while trace is not None:
        if "credbroker/identity" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


def _federate(context: Context) -> tuple[SecretStr, float]:
    return gcp_sts.federated(gcp_sts.ask(SecretStr(CANARY), "urn:x", context, audience=POOL, scope=SCOPE))


def _narrow(context: Context) -> tuple[SecretStr, float]:
    response = gcp_sts.ask_narrower(SecretStr(CANARY), {"accessBoundary": {}}, context)
    return gcp_sts.narrowed(response, source_life=timedelta(minutes=10))


def _impersonate(context: Context) -> tuple[SecretStr, float]:
    return gcp_impersonation.impersonated(SecretStr(CANARY), WANTED, context)


def _metadata(context: Context) -> tuple[SecretStr, float]:
    return gcp_metadata.metadata_token(context, scope=SCOPE)


EXCHANGED = {
    "access_token": "ya29.x",
    "expires_in": 3599,
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


def test_the_form_of_a_federated_exchange_is_the_documented_one() -> None:
    context, http = _context(_answer(200, {**EXCHANGED, "token_type": "Bearer"}))
    token, life = _federate(context)
    assert (token.get_secret_value(), life) == ("ya29.x", 3599)
    (request,) = http.requests
    assert (request.method, request.url) == ("POST", "https://sts.googleapis.com/v1/token")
    assert parse_qs((request.body or b"").decode()) == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "audience": [POOL],
        "scope": [SCOPE],
        "requested_token_type": ["urn:ietf:params:oauth:token-type:access_token"],
        "subject_token": [CANARY],
        "subject_token_type": ["urn:x"],
    }


def test_a_boundary_is_json_encoded_once_and_nothing_else_is_said() -> None:
    context, http = _context(_answer(200, {**EXCHANGED, "token_type": "Bearer"}))
    gcp_sts.ask_narrower(SecretStr("t"), {"accessBoundary": {"accessBoundaryRules": [{"a": "b c'&=+%"}]}}, context)
    fields = parse_qs((http.requests[0].body or b"").decode())
    assert json.loads(fields.pop("options")[0]) == {"accessBoundary": {"accessBoundaryRules": [{"a": "b c'&=+%"}]}}
    assert set(fields) == {"grant_type", "requested_token_type", "subject_token", "subject_token_type"}


def test_a_narrowed_token_without_a_life_has_its_sources() -> None:
    context, _ = _context(_answer(200, {name: value for name, value in EXCHANGED.items() if name != "expires_in"}))
    assert _narrow(context)[1] == 600


def test_an_exchange_for_something_else_than_an_access_token_is_refused() -> None:
    context, _ = _context(_answer(200, {**EXCHANGED, "issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}))
    with pytest.raises(MalformedResponse):
        _federate(context)


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (400, {"error": "invalid_grant"}, True),
        (401, {"error": "invalid_grant"}, True),
        (401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}, True),
        (401, {"error": "invalid_client"}, False),
        (400, {"error": "invalid_request"}, False),
        (403, {"error": {"code": 403}}, False),
        (500, {"error": "invalid_grant"}, False),
        (200, EXCHANGED, False),
    ],
)
def test_only_what_speaks_of_the_token_that_was_shown_refuses_it(status: int, body: object, refused: bool) -> None:
    assert gcp_sts.refuses_subject(_answer(status, body)) is refused


@pytest.mark.parametrize(
    ("stated", "life"),
    [
        ("2026-11-22T20:30:00Z", 1800),
        ("2026-11-22T20:30:00.123456789Z", 1800),
        ("2026-11-22T20:30:00.1Z", 1800),
    ],
)
def test_an_impersonated_tokens_end_is_read_as_protobuf_writes_it(stated: str, life: float) -> None:
    context, http = _context(_answer(200, {"accessToken": "ya29.x", "expireTime": stated}))
    assert _impersonate(context)[1] == life
    (request,) = http.requests
    assert request.url == (
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@lab.iam.gserviceaccount.com:generateAccessToken"
    )
    assert json.loads(request.body or b"") == {"scope": [SCOPE], "lifetime": "1800s"}
    assert request.headers["authorization"] == f"Bearer {CANARY}"


def test_a_clock_that_differs_from_googles_is_corrected() -> None:
    late = {"date": "Sun, 22 Nov 2026 21:00:00 GMT"}  # Google's clock leads ours by an hour
    context, _ = _context(_answer(200, {"accessToken": "ya29.x", "expireTime": "2026-11-22T21:30:00Z"}, late))
    assert _impersonate(context)[1] == pytest.approx(1800, abs=2)


@pytest.mark.parametrize("stated", ["2026-11-22T20:30:00", "2026-11-22T20:30:00+01:00", "2026-99-22T20:30:00Z", "", 7, None])
def test_an_end_that_cannot_be_read_is_no_token(stated: object) -> None:
    context, _ = _context(_answer(200, {"accessToken": "ya29.x", "expireTime": stated}))
    with pytest.raises(MalformedResponse):
        _impersonate(context)


@pytest.mark.parametrize("act", [_federate, _narrow, _impersonate, _metadata])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>canary-in-the-answer</html>"),
        (200, {"access_token": "canary-in-the-answer canary", "expires_in": 1}),
        (200, {"accessToken": "canary-in-the-answer", "expireTime": "canary"}),
        (200, {"access_token": "canary-in-the-answer", "expires_in": -1}),
        (400, {"error": "canary-in-the-answer", "error_description": "canary-in-the-answer"}),
        (400, {"error": "invalid_grant", "error_description": "canary-in-the-answer"}),
        (401, {"error": "unauthorized_client", "error_description": "canary-in-the-answer"}),
        (403, {"error": {"status": "PERMISSION_DENIED", "message": "canary-in-the-answer"}}),
        (403, {"error": {"status": "PERMISSION_DENIED", "details": "canary-in-the-answer"}}),
        (503, b"canary-in-the-answer"),
        (418, b"canary-in-the-answer"),
    ],
)
def test_no_refusal_shows_or_keeps_a_token(act: Act, status: int, body: object) -> None:
    context, http = _context(_answer(status, body, GOOGLES))
    with pytest.raises(CredbrokerError) as caught:
        act(context)
    for text in (str(caught.value), _shown(caught.tb)):
        assert "canary" not in text
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, CredbrokerError)
    assert len(http.requests) == 1


@pytest.mark.parametrize("act", [_federate, _narrow, _impersonate, _metadata])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_busy_service_is_asked_again_when_it_says(act: Act, status: int) -> None:
    context, _ = _context(_answer(status, b"", {**GOOGLES, "retry-after": "7"}))
    with pytest.raises(IssuerUnavailable) as caught:
        act(context)
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("code", "judged", "words"),
    [
        ("invalid_target", False, "auth.audience"),
        ("invalid_grant", False, "must not be expired"),
        ("unauthorized_client", True, "attribute condition"),
        ("invalid_scope", False, "auth.scope"),
        ("access_denied", False, "sts.googleapis.com is enabled"),
    ],
)
def test_each_refusal_of_a_pool_has_its_remedy(code: str, judged: bool, words: str) -> None:
    with pytest.raises(IssueDenied, match=words) as caught:
        gcp_sts.federated(_answer(400, {"error": code}), block="auth")
    assert caught.value.grant_denied is judged


@pytest.mark.parametrize(
    ("name", "good"),
    [
        (POOL, True),
        (f"https:{POOL}", False),
        (POOL.replace("123456789012", "my-project"), False),
        (POOL.replace("/global/", "/eu/"), False),
        (f"{POOL}/", False),
        (f"{POOL}\n", False),
        ("//iam.googleapis.com/locations/global/workforcePools/staff/providers/okta", False),
    ],
)
def test_a_provider_has_one_name(name: str, good: bool) -> None:
    assert (gcp_sts.PROVIDER.fullmatch(name) is not None) is good


@pytest.mark.parametrize(
    ("account", "good"),
    [
        ("a@lab.iam.gserviceaccount.com", True),
        ("123456789012-compute@developer.gserviceaccount.com", True),
        ("lab@appspot.gserviceaccount.com", True),
        ("110123456789012345678", True),
        ("a@example.com", False),
        ("a@lab.iam.gserviceaccount.com/../b", False),
        ("a@lab.iam.gserviceaccount.com:generateIdToken", False),
        ("A B@lab.iam.gserviceaccount.com", False),
        ("", False),
    ],
)
def test_an_account_cannot_lead_the_path_elsewhere(account: str, good: bool) -> None:
    assert (gcp_impersonation.ACCOUNT.fullmatch(account) is not None) is good


def test_several_scopes_stand_in_the_query_with_commas() -> None:
    context, http = _context(_answer(200, {"access_token": "x", "expires_in": 300}, GOOGLES))
    gcp_metadata.metadata_token(context, scope="https://a.example/one https://a.example/two")
    assert http.requests[0].url.partition("?")[2] == "scopes=https://a.example/one,https://a.example/two"
    assert http.requests[0].link_local


def test_a_dead_token_of_the_metadata_server_is_not_taken() -> None:
    context, _ = _context(_answer(200, {"access_token": "x", "expires_in": 0}, GOOGLES))
    with pytest.raises(InsufficientLifetime):
        _metadata(context)


# --------------------------------------------------------------------------------------------------------------- subjects


class _Files:
    def __init__(self, content: bytes | OSError) -> None:
        self._content = content

    def variable(self, name: str) -> None:
        return None

    def names(self, path: str) -> None:
        return None

    def read(self, path: str, *, within: str | None = None) -> bytes:
        if isinstance(self._content, OSError):
            raise self._content
        return self._content


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (FileNotFoundError(2, "No such file or directory"), CredentialUnavailable),
        (PermissionError(13, "Permission denied"), CredentialUnavailable),
        (b"", ConfigurationError),
        (b"canary", ConfigurationError),
        (b"canary.e30", ConfigurationError),
        (b"canary.e30.", ConfigurationError),
        (b"canary.e3.x", ConfigurationError),
        (b"canary\ncanary.e30.x", ConfigurationError),
        ("canar\u00fc.e30.x".encode(), ConfigurationError),
    ],
)
def test_a_file_without_a_whole_token_is_named_and_not_shown(content: bytes | OSError, kind: type[CredbrokerError]) -> None:
    with pytest.raises(kind, match="'/var/run/token'") as caught:
        gcp_subject.of_file("/var/run/token", Context(environment=_Files(content)))
    assert "canar" not in str(caught.value)
    assert "canar" not in _shown(caught.tb)


def test_a_file_is_read_with_its_line_end_cut() -> None:
    assert gcp_subject.of_file("/t", Context(environment=_Files(b"a.e30.b\n"))).get_secret_value() == "a.e30.b"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://ci.example/token?audience=x", None),
        ("http://127.0.0.1:8080/token", None),
        ("http://169.254.169.254/metadata/identity/oauth2/token?x=y", None),
        ("http://169.254.169.254/metadata/identity/oauth2/token/", "metadata service"),
        ("http://169.254.169.254:80/metadata/identity/oauth2/../../x", "metadata service"),
        ("http://169.254.169.254/latest/meta-data/iam/security-credentials/web", "subject_token.aws"),
        ("https://169.254.169.254/latest/meta-data/", "metadata service"),
        ("https://169.254.1.1/metadata/identity/oauth2/token", "metadata service"),
        ("http://169.254.170.2/v2/credentials", "metadata service"),
        ("http://[fd00:ec2::254]/metadata/identity/oauth2/token", "metadata service"),
        ("http://169.254.169.253/x", "plain http"),
        ("http://metadata.google.internal/x", "plain http"),
        ("http://169.254.169.254@ci.example/x", "userinfo"),
        ("ftp://127.0.0.1/x", "https"),
        ("http://[::1", "no URL"),
    ],
)
def test_plain_http_stays_on_this_machine(url: str, words: str | None) -> None:
    fault = gcp_subject.subject_url_fault(url)
    assert (words in fault) if fault is not None and words is not None else fault is words


@pytest.mark.parametrize(
    ("body", "field", "token"),
    [
        (b" a.b.c\n", None, "a.b.c"),
        (b'{"value": "a.b.c", "other": 1}', "value", "a.b.c"),
        (b'{"value": "a.b.c"}', None, None),
        (b'{"value": 7}', "value", None),
        (b"a.b.c", "value", None),
        (b"", None, None),
    ],
)
def test_a_url_answers_with_a_token_or_a_member_of_json(body: bytes, field: str | None, token: str | None) -> None:
    context, http = _context(_answer(200, body))
    stated = SubjectToken(url="https://ci.example/t?x=y", headers={"a": "b"}, field=field)
    if token is None:
        with pytest.raises(MalformedResponse, match=r"credentials\.subject_token"):
            gcp_subject.of_url(stated, context)
    else:
        assert gcp_subject.of_url(stated, context).get_secret_value() == token
    assert http.requests == [HttpRequest("GET", "https://ci.example/t?x=y", {"a": "b"})]


class _Secrets:
    def __init__(self, **values: str) -> None:
        self._values = values

    def resolve(self, reference: SecretReference) -> SecretStr:
        if reference.secret_ref not in self._values:
            raise SecretNotFound(f"secret {reference.secret_ref!r} not found")
        return SecretStr(self._values[reference.secret_ref])

    def lease(self, reference: SecretReference) -> NoReturn:
        raise AssertionError(reference)

    def revoke(self, lease: str) -> NoReturn:
        raise AssertionError(lease)


BEARER = SecretReference(secret_ref="bearer")
ASKED = SubjectToken(url="https://ci.example/t", headers={"Accept": "text/plain", "Authorization": BEARER})


def test_a_header_is_the_secret_that_it_names_as_it_is_now() -> None:
    http = FakeHttp(*[_answer(200, b"a.b.c")] * 2)
    for value in ("Bearer one", "Bearer two"):
        gcp_subject.of_url(ASKED, Context(http=http, clock=ManualClock(NOW), secrets=_Secrets(bearer=value)))
        assert http.requests[-1].headers == {"Accept": "text/plain", "Authorization": value}
        assert "Bearer" not in repr(http.requests[-1])


@pytest.mark.parametrize("end", ["\n", "\r\nHost: evil.example", "\0", " ", "\u00fc", "\t"])
def test_a_secret_that_is_no_headers_value_is_neither_sent_nor_shown(end: str) -> None:
    http = FakeHttp()
    with pytest.raises(ConfigurationError, match=r"'bearer' of credentials\.subject_token\.headers") as caught:
        gcp_subject.of_url(ASKED, Context(http=http, secrets=_Secrets(bearer=f"Bearer {CANARY}{end}")))
    assert CANARY not in str(caught.value) + _shown(caught.tb)
    assert http.requests == []


def test_a_header_whose_secret_is_missing_is_an_error_that_keeps_no_other_one() -> None:
    stated = SubjectToken(url=ASKED.url, headers={**ASKED.headers, "X-Also": SecretReference(secret_ref="also")})
    with pytest.raises(SecretNotFound, match="'also'") as caught:
        gcp_subject.of_url(stated, Context(http=FakeHttp(), secrets=_Secrets(bearer=CANARY)))
    assert CANARY not in _shown(caught.tb)


def _of_url(context: Context) -> SecretStr:
    return gcp_subject.of_url(ASKED, context)


@pytest.mark.parametrize("act", [_federate, _narrow, _impersonate, _of_url])
def test_no_failure_of_sending_keeps_what_was_sent(act: Callable[[Context], object]) -> None:
    http = FakeHttp(IssuerUnavailable("no answer"))
    with pytest.raises(IssuerUnavailable) as caught:
        act(Context(http=http, clock=ManualClock(NOW), secrets=_Secrets(bearer=f"Bearer {CANARY}")))
    assert CANARY in repr((http.requests[0].headers, http.requests[0].body))
    assert CANARY not in _shown(caught.tb)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Authorization", None),
        ("X-MS-Token", None),
        ("Host", "'Host'"),
        ("content-length", "leave it out"),
        ("Transfer-Encoding", "leave it out"),
        ("CONNECTION", "leave it out"),
        ("a\r\nHost", "not shown"),
        ("a: b", "not shown"),
        ("", "not shown"),
        ("accept", "twice"),
    ],
)
def test_a_header_that_is_the_transports_to_say_is_refused(name: str, words: str | None) -> None:
    fault = gcp_subject.headers_fault(["Accept", name])
    assert (words in fault) if fault is not None and words is not None else fault is words


@pytest.mark.parametrize("session", [None, "session/token+of=="])
def test_a_signed_request_names_the_pool_among_what_is_signed(session: str | None) -> None:
    keys = Keys("AKIAEXAMPLE", SecretStr("secret"), SecretStr(session) if session else None)
    text = gcp_aws.caller_identity(keys, POOL).get_secret_value()
    assert not set(text) & set(' "{}')  # URL-encoded
    shown: dict[str, Any] = json.loads(unquote(text))
    headers = {header["key"]: header["value"] for header in shown["headers"]}
    assert shown["url"] == "https://sts.us-east-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    assert shown["method"] == "POST"
    needed = {"host", "x-amz-date", "x-goog-cloud-target-resource", *(["x-amz-security-token"] if session else [])}
    assert set(headers) == {*needed, "authorization"}
    assert f"SignedHeaders={';'.join(sorted(needed))}," in headers["authorization"]
    assert headers["x-goog-cloud-target-resource"] == POOL
    assert "secret" not in text
