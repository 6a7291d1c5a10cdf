from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from credbroker.context import Connection, Context, HttpRequest, HttpResponse
from credbroker.credentials import S3Credentials
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.identity import aws_api
from credbroker.location import Location
from credbroker.profile import CredentialSettings, StorageProfile
from credbroker.providers.iam_role import IamRoleProvider, session_name
from credbroker.request import Access, CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.vending.s3 import compact, session_policy

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/Pipe"
SALES = Location.parse("s3://lake/sales")
REQUEST = CredentialRequest(kind="storage", profile="lake", locations=(SALES,), access=Access.READ, principal="svc")
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAMADEUP</AccessKeyId><SecretAccessKey>vended-secret</SecretAccessKey><SessionToken>vended-token</SessionToken>
<Expiration>2026-11-22T21:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@dataclass
class FakeHttp:
    status: int = 200
    body: bytes = ANSWER.encode()
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[HttpRequest] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        self.seen.append(request)
        self.options.append({"timeout": timeout, "allow_insecure": allow_insecure, "on_connection": on_connection})
        return HttpResponse(self.status, self.headers, self.body, NOW, NOW + timedelta(milliseconds=20))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl((self.seen[-1].body or b"").decode()))


@dataclass
class FakeEnvironment:
    variables: dict[str, str]

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise AssertionError(path)

    def names(self, path: str) -> tuple[str, ...] | None:
        raise AssertionError(path)


class FakeSecrets:
    def __init__(self, value: str) -> None:
        self.value = value

    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(self.value)


BASE = {"AWS_ACCESS_KEY_ID": "AKIABASE", "AWS_SECRET_ACCESS_KEY": "base-secret", "AWS_SESSION_TOKEN": "base-token"}


def profile(*, credentials: dict[str, Any] | None = None, **settings: Any) -> StorageProfile:
    block: dict[str, Any] = {"role_arn": ROLE, "credential_source": "environment", **(credentials or {})}
    given: dict[str, Any] = {
        "name": "lake",
        "region": "eu-west-1",
        "locations": (SALES,),
        "where": "platform.yaml:7",
        **settings,
    }
    return StorageProfile(credentials=CredentialSettings(mode="iam_role", **block), **given)


def issue(
    request: CredentialRequest = REQUEST,
    of: StorageProfile | None = None,
    http: FakeHttp | None = None,
    variables: dict[str, str] = BASE,
    secrets: FakeSecrets | None = None,
) -> tuple[S3Credentials, FakeHttp]:
    http = http or FakeHttp()
    context = Context(
        http=http,
        environment=FakeEnvironment(variables),
        secrets=secrets or FakeSecrets(""),
        profile=of or profile(),
        remaining=lambda: 7.5,
        on_connection=print,
    )
    return IamRoleProvider().issue(request, context), http


def test_the_role_is_assumed_for_exactly_the_locations_at_the_regional_endpoint() -> None:
    value, http = issue()
    (sent,) = http.seen
    assert (sent.method, sent.url) == ("POST", "https://sts.eu-west-1.amazonaws.com/")
    assert http.form == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": session_name("svc", None),
        "Policy": compact(session_policy((SALES,), Access.READ), ()),
        "DurationSeconds": "3600",
    }
    assert http.options == [{"timeout": 7.4, "allow_insecure": False, "on_connection": print}]
    assert (value.access_key_id, value.region, value.endpoint) == ("ASIAMADEUP", "eu-west-1", None)
    assert value.secret_access_key.get_secret_value() == "vended-secret"
    assert value.session_token is not None
    assert value.session_token.get_secret_value() == "vended-token"
    assert (value.locations, value.access) == ((SALES,), Access.READ)
    assert value.expires_at == NOW + timedelta(hours=1)


def test_the_request_is_signed_with_the_base_identity_for_sts_in_the_region() -> None:
    _, http = issue()
    headers = {name.lower(): value for name, value in http.seen[0].headers.items()}
    assert "Credential=AKIABASE/" in headers["authorization"]
    assert "/eu-west-1/sts/aws4_request" in headers["authorization"]
    assert "host;x-amz-date;x-amz-security-token" in headers["authorization"]
    assert headers["x-amz-security-token"] == "base-token"
    assert "base-secret" not in repr(http.seen[0])
    _, http = issue(variables={**BASE, "AWS_SESSION_TOKEN": ""})
    assert "x-amz-security-token" not in {name.lower() for name in http.seen[0].headers}


def test_nothing_ambient_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home folder, variables and models that would each change an ordinary client leave the call as it is."""
    _, plain = issue()
    model = tmp_path / ".aws" / "models" / "sts" / "2011-06-15"
    model.mkdir(parents=True)
    (model / "service-2.json").write_text('{"metadata": {}, "operations": {}, "shapes": {}}')
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = xx-evil-1\nendpoint_url = https://evil.example\n")
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIAEVIL\naws_secret_access_key = evil\n")
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / ".aws" / "credentials"),
        "AWS_DATA_PATH": str(tmp_path / ".aws" / "models"),
        "AWS_PROFILE": "absent",
        "AWS_DEFAULT_REGION": "xx-evil-1",
        "AWS_ENDPOINT_URL": "https://evil.example",
        "AWS_ENDPOINT_URL_STS": "https://evil.example",
        "AWS_ACCESS_KEY_ID": "AKIAEVIL",
        "AWS_SECRET_ACCESS_KEY": "evil",
        "HTTPS_PROXY": "http://evil.example:3128",
        "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
    }.items():
        monkeypatch.setenv(name, value)
    aws_api._service_model.cache_clear()
    _, poisoned = issue()
    assert (poisoned.seen[0].url, poisoned.form) == (plain.seen[0].url, plain.form)
    assert "AKIABASE" in poisoned.seen[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("arn", "region", "url"),
    [
        ("arn:aws-cn:iam::123456789012:role/Pipe", "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("arn:aws-us-gov:iam::123456789012:role/a/b/Pipe", "us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
    ],
)
def test_the_partition_is_the_roles(arn: str, region: str, url: str) -> None:
    _, http = issue(of=profile(credentials={"role_arn": arn}, region=region))
    partition = arn.split(":")[1]
    assert http.seen[0].url == url
    assert f'"arn:{partition}:s3:::lake/sales/*"' in http.form["Policy"]


@pytest.mark.parametrize(
    ("arn", "region"), [(ROLE, "cn-north-1"), (ROLE, "us-gov-east-1"), (ROLE.replace(":aws:", ":aws-cn:"), "eu-west-1")]
)
def test_a_region_of_another_partition_is_refused(arn: str, region: str) -> None:
    with pytest.raises(ConfigurationError, match="partition"):
        IamRoleProvider().plan(REQUEST, profile(credentials={"role_arn": arn}, region=region))


@pytest.mark.parametrize(
    ("endpoint", "region", "signed"),
    [
        ("http://127.0.0.1:8333", None, "us-east-1"),
        ("http://127.0.0.1:8333", "home", "home"),
        ("https://sts.amazonaws.com", "eu-west-1", "us-east-1"),
        ("https://sts.us-west-2.amazonaws.com", "eu-west-1", "us-west-2"),
    ],
)
def test_any_sts_endpoint_is_asked_as_it_is_named(endpoint: str, region: str | None, signed: str) -> None:
    value, http = issue(of=profile(credentials={"sts_endpoint": endpoint}, region=region, endpoint="http://127.0.0.1:8333"))
    assert http.seen[0].url == endpoint
    assert f"/{signed}/sts/" in http.seen[0].headers["Authorization"]
    assert (value.endpoint, value.region) == ("http://127.0.0.1:8333", region)


def test_an_endpoint_from_a_secret_is_resolved_and_checked_at_issue() -> None:
    reference = SecretReference(secret_ref="lake-endpoint")
    value, _ = issue(of=profile(endpoint=reference), secrets=FakeSecrets("https://s3.example.com"))
    assert value.endpoint == "https://s3.example.com"
    with pytest.raises(ConfigurationError, match="plain http"):
        issue(of=profile(endpoint=reference), secrets=FakeSecrets("http://s3.example.com"))


@pytest.mark.parametrize(
    ("ttl", "asked"), [(timedelta(seconds=4), "900"), (timedelta(hours=2), "7200"), (timedelta(days=2), "43200")]
)
def test_the_duration_is_max_ttl_within_what_sts_takes(ttl: timedelta, asked: str) -> None:
    _, http = issue(of=profile(max_ttl=ttl))
    assert http.form["DurationSeconds"] == asked


def test_the_external_id_is_sent_unchanged() -> None:
    _, http = issue(of=profile(credentials={"external_id": "floe-lake:a/b@c"}))
    assert http.form["ExternalId"] == "floe-lake:a/b@c"


@pytest.mark.parametrize("external_id", ["a", "a b", "é" * 4, "a\n", "x" * 1225, "a*b"])
def test_an_external_id_that_sts_would_refuse_is_refused_and_not_mended(external_id: str) -> None:
    with pytest.raises(ConfigurationError, match="external_id"):
        IamRoleProvider().plan(REQUEST, profile(credentials={"external_id": external_id}))


@pytest.mark.parametrize(
    "arn",
    [
        "Pipe",
        "arn:aws:iam::12345678901:role/Pipe",
        "arn:aws:iam:::role/Pipe",
        "arn:aws-evil:iam::123456789012:role/Pipe",
        "arn:aws:iam::123456789012:user/Pipe",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/a b/Pipe",
        "arn:aws:iam::123456789012:role/Pipe\n",
        "arn:aws:iam::１２３456789012:role/Pipe",  # noqa: RUF001 - digits that are none of ASCII's
        "arn:aws:iam::123456789012:role/" + "x" * 65,
    ],
)
def test_a_role_arn_is_taken_strictly(arn: str) -> None:
    with pytest.raises(ConfigurationError, match=r"platform.yaml:7: storage.lake.credentials.role_arn"):
        IamRoleProvider().plan(REQUEST, profile(credentials={"role_arn": arn}))


def test_a_role_of_no_account_is_taken_where_the_sts_is_not_awss_own() -> None:
    """Ceph has such roles, those of no tenant."""
    _, http = issue(of=profile(credentials={"role_arn": "arn:aws:iam:::role/a/Pipe", "sts_endpoint": "https://rgw.example"}))
    assert http.form["RoleArn"] == "arn:aws:iam:::role/a/Pipe"


@pytest.mark.parametrize(
    ("credentials", "settings", "named"),
    [
        ({"role_arn": None}, {}, "role_arn is missing"),
        ({"credential_source": None}, {}, "credential_source is missing"),
        ({"credential_source": "default_chain"}, {}, "'default_chain', which depends on the machine .* in production"),
        ({"credential_source": "magic"}, {}, "is no identity towards AWS: use web_identity, environment, "),
        ({"sts_endpoint": "http://sts.example.com"}, {}, "sts_endpoint is plain http"),
        ({"sts_endpoint": "https://user:canary@sts.example.com"}, {}, "sts_endpoint carries userinfo"),
        ({}, {"region": None}, "region is missing"),
        ({}, {"region": "eu-west-1.evil.example/"}, "region is no AWS region"),
        ({}, {"endpoint": "http://s3.example.com"}, "endpoint is plain http"),
        ({}, {"type": "gcs"}, "storage.lake.type is 'gcs': mode iam_role has keys for s3 only"),
        ({}, {"type": "azure"}, "storage.lake.type is 'azure'"),
        ({"sts_endpoint": "https://sts.example.com/?Action=x"}, {}, "sts_endpoint has a query"),
        ({}, {"allow_insecure": True}, "allow_insecure is refused in production .*absent 'environment:'"),
    ],
)
def test_settings_that_cannot_work_are_named_when_the_handle_is_made(
    credentials: dict[str, Any], settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        IamRoleProvider().plan(REQUEST, profile(credentials=credentials, **settings))
    assert "canary" not in str(caught.value)


def test_the_plan_shows_the_policy_and_asks_nobody() -> None:
    grant = IamRoleProvider().plan(REQUEST, profile(kms_keys=()))
    assert grant.policy == session_policy((SALES,), Access.READ)
    assert (grant.locations, grant.access) == ((SALES,), Access.READ)


def test_the_plan_refuses_what_a_policy_cannot_say() -> None:
    many = replace(REQUEST, locations=tuple(Location("s3", "lake", f"{'x' * 60}{number}") for number in range(40)))
    for request, settings in (
        (many, {}),
        (replace(REQUEST, locations=()), {}),
        (replace(REQUEST, locations=(Location("s3", "lake", "a*"),)), {"policy_escapes": False}),
    ):
        with pytest.raises(ConfigurationError):
            IamRoleProvider().plan(request, profile(**settings))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "AKIABASE"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_absent_base_identity_names_the_variables_and_calls_nobody(variables: dict[str, str], named: str) -> None:
    http = FakeHttp()
    with pytest.raises(CredentialUnavailable, match=named) as caught:
        issue(http=http, variables=variables)
    assert http.seen == []
    assert "canary" not in str(caught.value)


def test_a_server_clock_that_runs_ahead_gives_no_more_life() -> None:
    ahead = FakeHttp(headers={"date": "Sun, 22 Nov 2026 20:30:00 GMT"})
    value, _ = issue(http=ahead)
    assert value.expires_at is not None
    assert NOW + timedelta(minutes=29, seconds=58) < value.expires_at <= NOW + timedelta(minutes=30)


def error(code: str) -> bytes:
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>".encode()


@pytest.mark.parametrize(
    ("status", "body", "raised", "named"),
    [
        (403, error("AccessDenied"), IssueDenied, "trust policy.*external_id"),
        (403, error("InvalidClientTokenId"), IssueDenied, "AWS_ACCESS_KEY_ID"),
        (403, error("SignatureDoesNotMatch"), IssueDenied, "clock"),
        (403, error("ExpiredToken"), IssueDenied, "AWS_SESSION_TOKEN"),
        (400, error("RequestExpired"), IssueDenied, "clock"),
        (403, b"<Error><Code>InvalidAccessKeyId</Code><Message>canary</Message></Error>", IssueDenied, "InvalidAccessKeyId"),
        (400, error("PackedPolicyTooLarge"), ConfigurationError, r"\d+ characters \(of 2048\).*packed.*s3://lake/"),
        (
            400,
            error("PackedPolicyTooLarge").replace(b"canary", b"canary: it consumes 112% of the allotted space"),
            ConfigurationError,
            "at 112 %",
        ),
        (400, error("MalformedPolicyDocument"), ConfigurationError, r"\d+ characters"),
        (400, error("ValidationError"), ConfigurationError, "max_ttl.*3600 s"),
        (403, error("RegionDisabledException"), ConfigurationError, "region"),
        (400, error("Throttling"), IssuerUnavailable, "throttling"),
        (429, b"canary", IssuerUnavailable, "429"),
        (503, b"<html>canary</html>", IssuerUnavailable, "503"),
        (500, error("InternalFailure"), IssuerUnavailable, "500"),
        (418, error("canary.token.x"), IssueDenied, "HTTP 418"),
        (403, error("SendYourKeysToEvilExample"), IssueDenied, r"role/Pipe \(HTTP 403\)"),
        (400, error("Canary"), IssueDenied, r"\(HTTP 400\)"),
        (404, b"canary", IssueDenied, "HTTP 404"),
        (200, b"", MalformedResponse, "STS"),
        (200, b"canary", MalformedResponse, "STS"),
        (200, b"<a><b>canary</b></a>", MalformedResponse, "STS"),
        (200, ANSWER.replace("<SessionToken>vended-token</SessionToken>", "").encode(), MalformedResponse, "full set"),
        (
            200,
            ANSWER.replace("vended-token", "vended-token&#13;&#10;X-Evil: 1").encode(),
            MalformedResponse,
            "visible ASCII",
        ),
        (200, ANSWER.replace("vended-secret", "vended secret").encode(), MalformedResponse, "visible ASCII"),
        (200, ANSWER.replace("ASIAMADEUP", "ASIAé").encode(), MalformedResponse, "visible ASCII"),
        (200, ANSWER.replace("vended-token", "x" * 16_385).encode(), MalformedResponse, "visible ASCII"),
        (200, ANSWER.replace("2026-11-22T21:00:00Z", "canary").encode(), MalformedResponse, "STS"),
        *(
            (200, ANSWER.replace("2026-11-22T21:00:00Z", end).encode(), MalformedResponse, "full set")
            for end in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-22T21:00:00")
        ),
        (200, ANSWER.replace("<Expiration>2026-11-22T21:00:00Z</Expiration>", "").encode(), MalformedResponse, "full set"),
    ],
)
def test_each_answer_has_its_error_and_none_repeats_it(
    status: int, body: bytes, raised: type[CredbrokerError], named: str
) -> None:
    with pytest.raises(raised, match=named) as caught:
        issue(http=FakeHttp(status=status, body=body))
    for secret in ("canary", "Canary", "SendYourKeys", "base-secret", "base-token", "vended"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "body"), [(503, b""), (429, b""), (400, error("Throttling")), (200, b"canary"), (200, ANSWER[:-150].encode())]
)
def test_an_answer_that_cannot_be_used_names_the_host_and_the_field_that_chose_it(status: int, body: bytes) -> None:
    own = profile(credentials={"sts_endpoint": "https://sts.example:8443/path"})
    with pytest.raises((IssuerUnavailable, MalformedResponse), match=r"STS at sts\.example .*credentials\.sts_endpoint"):
        issue(of=own, http=FakeHttp(status=status, body=body))


@pytest.mark.parametrize(("code", "withdrawn"), [("AccessDenied", True), ("ExpiredToken", False), ("SomethingElse", False)])
def test_only_a_refused_grant_counts_as_one(code: str, withdrawn: bool) -> None:
    with pytest.raises(IssueDenied) as caught:
        issue(http=FakeHttp(status=403, body=error(code)))
    assert caught.value.grant_denied is withdrawn


def test_throttling_says_when_to_come_back() -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        issue(http=FakeHttp(status=503, headers={"retry-after": "7"}))
    assert caught.value.retry_after == timedelta(seconds=7)
    assert caught.value.retryable


def test_a_missing_sdk_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("credbroker.providers._sts_assume", "credbroker.providers._sts", "credbroker.identity.aws_api"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(name, raising=False)
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ConfigurationError, match=r"credbroker-data\[aws\]"):
        issue()


def test_our_own_loggers_stay_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="credbroker")
    issue()
    assert [record for record in caplog.records if record.name.startswith("credbroker")] == []


names = st.one_of(st.none(), st.text(max_size=80))


@given(names, names)
def test_a_session_name_is_one_that_sts_takes(principal: str | None, actor: str | None) -> None:
    name = session_name(principal, actor)
    assert 2 <= len(name) <= 64
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-")


@given(st.tuples(names, names), st.tuples(names, names))
def test_two_names_never_share_a_session_name(
    one: tuple[str | None, str | None], other: tuple[str | None, str | None]
) -> None:
    assert (session_name(*one) == session_name(*other)) == (one == other)


def test_a_session_name_can_be_read() -> None:
    assert session_name("data-platform-svc", "ana@example.com").startswith("data-platform-svc-ana@example.com-")
    assert session_name("ana b", None) != session_name("ana-b", None)
    assert session_name("a", "b") != session_name("a-b", None) != session_name(None, "a-b")
    assert session_name(None, None) == "credbroker"


def test_the_policy_that_is_sent_is_json_without_blanks() -> None:
    _, http = issue(replace(REQUEST, access=Access.READ_WRITE))
    assert json.loads(http.form["Policy"]) == session_policy((SALES,), Access.READ_WRITE)
    assert " " not in http.form["Policy"]
