"""``iam_role`` on an engine: RDS tokens against botocore's own, Redshift's calls and what its refusals mean."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from tests.unit.providers.test_signed_catalog import ANSWER, ROLE, Variables

from credbroker import Broker, DatabaseCredentials
from credbroker.context import Context, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity.aws import Keys
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.request import CredentialRequest
from credbroker.testing import FakeHttp, ManualClock, answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOST = "reports.abc123.eu-west-1.rds.amazonaws.com"
RDS = {"type": "postgres", "properties": {"host": HOST, "port": 5432, "user": "pipeline"}}
CLUSTER = {"type": "redshift", "properties": {"cluster": "dwh", "user": "pipeline", "database": "sales"}}
WORKGROUP = {"type": "redshift", "properties": {"workgroup": "dwh", "database": "sales"}}
AS_ROLE = {"type": "redshift", "properties": {"cluster": "dwh", "database": "sales"}}
ASSUMED = answer(ANSWER)
OF_CLUSTER = answer(
    b"""<GetClusterCredentialsResponse xmlns="http://redshift.amazonaws.com/doc/2012-12-01/"><GetClusterCredentialsResult>
<DbUser>IAM:pipeline</DbUser><DbPassword>made-password</DbPassword><Expiration>2026-01-01T00:15:00Z</Expiration>
</GetClusterCredentialsResult></GetClusterCredentialsResponse>"""
)
OF_WORKGROUP = answer({"dbUser": "IAMR:Catalogs", "dbPassword": "made-password", "expiration": NOW.timestamp() + 900})


def broker_of(*answers: Any, role: str | None = ROLE, **settings: Any) -> tuple[Broker, FakeHttp]:
    block = {"mode": "iam_role", "credential_source": "environment", **settings.pop("credentials", {})}
    if role is not None:
        block["role_arn"] = role
    http = FakeHttp(*answers)
    engine = {"region": "eu-west-1", "credentials": block, **settings}
    config = {"environment": "test", "compute": {"db": {key: value for key, value in engine.items() if value is not None}}}
    return Broker.from_config(config, context=Context(clock=ManualClock(), http=http, environment=Variables())), http


def login_of(*answers: Any, **settings: Any) -> tuple[DatabaseCredentials, FakeHttp]:
    broker, http = broker_of(*answers, **settings)
    with broker:
        value = broker.compute("db").get()
    assert isinstance(value, DatabaseCredentials)
    return value, http


def password(value: DatabaseCredentials) -> str:
    assert value.password is not None
    return value.password.get_secret_value()


def refusal(*answers: Any, **settings: Any) -> CredbrokerError:
    broker, _ = broker_of(*answers, **settings)
    with broker, pytest.raises(CredbrokerError) as caught:
        broker.compute("db").get()
    assert "made-password" not in str(caught.value)
    assert "canary" not in str(caught.value)
    return caught.value


# -- RDS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore's signers read one instant, so that two tokens can be compared."""
    import botocore.auth

    instant = datetime(2026, 1, 1, 12, 30, 15, tzinfo=UTC)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # noqa: ARG003
            return instant

        @classmethod
        def utcnow(cls) -> datetime:
            return instant.replace(tzinfo=None)

    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: instant)
    else:
        monkeypatch.setattr(botocore.auth.datetime, "datetime", Stopped)


def by_botocore(key: str, secret: str, token: str | None, *, port: int = 5432, user: str = "pipeline") -> str:
    client = boto3.client(
        "rds", region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    )
    try:
        return client.generate_db_auth_token(HOST, port, user)
    finally:
        client.close()


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("user", ["pipeline", "ana.b+c@example.com"])
def test_the_token_is_the_one_that_botocore_signs(user: str) -> None:
    settings = {**RDS, "properties": {"host": HOST, "port": "5433", "user": user}}
    value, http = login_of(ASSUMED, **settings)
    assert password(value) == by_botocore("ASIAMADEUP", "role-secret", "role-token", port=5433, user=user)
    assert value.username == user
    assert len(http.requests) == 1  # STS; the token's own URL is never asked


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(("kind", "port"), [("postgres", 5432), ("postgresql", 5432), ("mysql", 3306)])
def test_without_a_role_the_base_identity_signs_and_nothing_is_sent(kind: str, port: int) -> None:
    value, http = login_of(role=None, type=kind, properties={"host": HOST, "user": "pipeline"})
    assert password(value) == by_botocore("AKIABASE", "base-secret", None, port=port)
    assert http.requests == []


def test_the_token_says_what_it_is_for_and_how_long() -> None:
    value, _ = login_of(ASSUMED, **RDS)
    url = urlsplit(f"https://{password(value)}")
    fields = dict(parse_qsl(url.query))
    assert (url.hostname, url.port, url.path) == (HOST, 5432, "/")
    assert (fields["Action"], fields["DBUser"], fields["X-Amz-Expires"]) == ("connect", "pipeline", "900")
    assert fields["X-Amz-Credential"].endswith("/eu-west-1/rds-db/aws4_request")
    assert value.expires_at == NOW + timedelta(minutes=15)


def test_the_user_may_be_called_by_its_other_name() -> None:
    assert login_of(ASSUMED, type="mysql", properties={"host": HOST, "username": "pipeline"})[0].username == "pipeline"


def test_a_token_ends_with_the_session_that_signed_it() -> None:
    short = answer(ANSWER.replace(b"01:00:00", b"00:05:00"))
    assert login_of(short, **RDS)[0].expires_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(("resource", "named"), [(None, "*"), ("db-ABC123", "db-ABC123"), ("prx-0a1b", "prx-0a1b")])
def test_the_session_may_connect_as_that_user_and_nothing_else(resource: str | None, named: str) -> None:
    given = {**RDS["properties"], **({"resource_id": resource} if resource else {})}  # type: ignore[dict-item]
    broker, http = broker_of(ASSUMED, type="postgres", properties=given)
    with broker:
        source: Any = broker.compute("db")
        source.get()
        statement = {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:aws:rds-db:eu-west-1:123456789012:dbuser:{named}/pipeline",
        }
        assert source.explain().policy == {"Version": "2012-10-17", "Statement": [statement]}
        assert json.loads(dict(parse_qsl((http.requests[0].body or b"").decode()))["Policy"]) == source.explain().policy


# -- Redshift ----------------------------------------------------------------------------------------------------------


def test_a_clusters_login_is_asked_for_with_the_sessions_keys() -> None:
    value, http = login_of(ASSUMED, OF_CLUSTER, **CLUSTER)
    assert (value.username, password(value)) == ("IAM:pipeline", "made-password")
    assert value.expires_at == NOW + timedelta(minutes=15)
    request = http.requests[1]
    assert request.url == "https://redshift.eu-west-1.amazonaws.com/"
    assert "Credential=ASIAMADEUP/" in request.headers["Authorization"]
    assert "/eu-west-1/redshift/aws4_request" in request.headers["Authorization"]
    assert dict(parse_qsl((request.body or b"").decode())) == {
        "Action": "GetClusterCredentials",
        "Version": "2012-12-01",
        "ClusterIdentifier": "dwh",
        "DbUser": "pipeline",
        "DbName": "sales",
        "AutoCreate": "false",
        "DurationSeconds": "3600",
    }


@pytest.mark.parametrize("user", ["IAM:admin", "admin", "IAM:pipeline2", "iam:pipeline", "IAMA:pipeline", "IAMR:pipeline"])
def test_the_login_of_another_user_than_was_asked_is_not_handed_out(user: str) -> None:
    other = answer(OF_CLUSTER.body.replace(b"IAM:pipeline", user.encode()))
    error = refusal(ASSUMED, other, **CLUSTER)
    assert isinstance(error, MalformedResponse)
    assert "another user than was asked" in error.message


def test_a_login_without_a_prefix_is_the_users_too() -> None:
    plain = answer(OF_CLUSTER.body.replace(b"IAM:pipeline", b"pipeline"))
    assert login_of(ASSUMED, plain, **CLUSTER)[0].username == "pipeline"


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:15:00"])
def test_an_end_that_is_no_instant_is_a_malformed_answer(end: str) -> None:
    other = answer(OF_CLUSTER.body.replace(b"2026-01-01T00:15:00Z", end.encode()))
    error = refusal(ASSUMED, other, **CLUSTER)
    assert isinstance(error, MalformedResponse)
    assert "their expiry" in error.message


def test_a_workgroups_login_is_the_roles_own() -> None:
    value, http = login_of(ASSUMED, OF_WORKGROUP, **WORKGROUP)
    assert (value.username, password(value)) == ("IAMR:Catalogs", "made-password")
    request = http.requests[1]
    assert request.url == "https://redshift-serverless.eu-west-1.amazonaws.com/"
    assert request.headers["X-Amz-Target"] == "RedshiftServerless.GetCredentials"
    assert json.loads(request.body or b"") == {"workgroupName": "dwh", "dbName": "sales", "durationSeconds": 3600}


@pytest.mark.parametrize(
    ("settings", "action", "resources"),
    [
        (
            CLUSTER,
            "redshift:GetClusterCredentials",
            [
                "arn:aws:redshift:eu-west-1:123456789012:dbuser:dwh/pipeline",
                "arn:aws:redshift:eu-west-1:123456789012:dbname:dwh/sales",
            ],
        ),
        (
            AS_ROLE,
            "redshift:GetClusterCredentialsWithIAM",
            "arn:aws:redshift:eu-west-1:123456789012:dbname:dwh/sales",
        ),
        (
            WORKGROUP,
            "redshift-serverless:GetCredentials",
            "arn:aws:redshift-serverless:eu-west-1:123456789012:workgroup/*",
        ),
        (
            {"type": "redshift", "properties": {"workgroup": "dwh", "workgroup_id": "1a2b-3c"}},
            "redshift-serverless:GetCredentials",
            "arn:aws:redshift-serverless:eu-west-1:123456789012:workgroup/1a2b-3c",
        ),
    ],
)
def test_the_session_may_ask_for_that_login_alone(settings: dict[str, Any], action: str, resources: Any) -> None:
    broker, _ = broker_of(**settings)
    with broker:
        statement = {"Effect": "Allow", "Action": action, "Resource": resources}
        assert broker.compute("db").explain().policy == {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(("max_ttl", "asked"), [("5m", "900"), ("30m", "1800"), ("12h", "3600")])
def test_a_login_is_asked_for_no_longer_than_redshift_gives(max_ttl: str, asked: str) -> None:
    _, http = login_of(OF_CLUSTER, role=None, max_ttl=max_ttl, **CLUSTER)
    assert dict(parse_qsl((http.requests[0].body or b"").decode()))["DurationSeconds"] == asked


def error(code: str, status: int = 400) -> HttpResponse:
    return answer(
        f"<ErrorResponse><Error><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>".encode(), status
    )


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (error("AccessDenied", 403), IssueDenied, "needs redshift:GetClusterCredentials for 'dwh'"),
        (error("ClusterNotFound", 404), ConfigurationError, "knows no cluster 'dwh'"),
        (error("UnsupportedOperation"), ConfigurationError, "look at properties.user and properties.database"),
        (error("ExpiredToken", 403), IssueDenied, "this machine's clock"),
        (error("Throttling"), IssuerUnavailable, "is throttling"),
        (error("canary"), IssueDenied, "HTTP 400"),
        (answer(b"canary", 503), IssuerUnavailable, "HTTP 503"),
        (answer(b"canary"), MalformedResponse, "without a user, a password and their expiry"),
        (answer(OF_CLUSTER.body.replace(b"made-password", b"made password")), MalformedResponse, "without a user"),
        (answer(OF_CLUSTER.body.replace(b"IAM:pipeline", b"")), MalformedResponse, "without a user"),
    ],
)
def test_each_refusal_has_its_class_and_its_remedy(given: HttpResponse, kind: type[CredbrokerError], text: str) -> None:
    caught = refusal(ASSUMED, given, **CLUSTER)
    assert type(caught) is kind
    assert text in str(caught)
    if isinstance(caught, IssueDenied):
        assert caught.grant_denied is (text.startswith("needs"))


def test_a_workgroup_that_is_not_there_is_named() -> None:
    absent = answer({"__type": "ResourceNotFoundException", "message": "canary"}, 400)
    assert "knows no workgroup 'dwh'" in str(refusal(ASSUMED, absent, **WORKGROUP))


def test_no_frame_of_a_refusal_keeps_the_keys_that_signed() -> None:
    broker, http = broker_of(ASSUMED, error("AccessDenied", 403), **CLUSTER)
    with broker:
        context = Context(clock=ManualClock(), http=http, environment=Variables(), profile=broker.profile("compute", "db"))
        with pytest.raises(IssueDenied) as caught:
            IamRoleProvider().issue(CredentialRequest("compute", "db"), context)
    kept = [value for frame in traceback.walk_tb(caught.value.__traceback__) for value in frame[0].f_locals.values()]
    assert not [value for value in kept if isinstance(value, Keys | DatabaseCredentials)]


@pytest.mark.parametrize(("role", "remedy"), [(ROLE, f"revoke the active sessions of {ROLE}"), (None, "lock the user")])
def test_a_login_that_aws_made_is_ended_by_its_user_and_its_role(role: str | None, remedy: str) -> None:
    broker, _ = broker_of(*([ASSUMED] if role else []), OF_CLUSTER, role=role, **CLUSTER)
    with broker:
        broker.compute("db").get()
        (report,) = broker.revoke("db")
    assert report["revoked"] is False
    assert "lock the user in the database" in str(report["runbook"])
    assert remedy in str(report["runbook"])


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"type": "trino"}, "compute.db.type is 'trino': mode iam_role has logins for 'postgres' and 'mysql'"),
        ({**RDS, "region": None}, "region must be an AWS region"),
        ({"type": "postgres", "properties": {"user": "u"}}, "properties.host is missing"),
        ({"type": "postgres", "properties": {"host": "https://db", "user": "u"}}, "properties.host must be"),
        ({"type": "postgres", "properties": {"host": HOST}}, "properties.user is missing"),
        ({"type": "postgres", "properties": {"host": HOST, "user": "*"}}, "properties.user must be"),
        ({"type": "postgres", "properties": {"host": HOST, "user": "u", "port": "x"}}, "properties.port must be a number"),
        ({"type": "postgres", "properties": {"host": HOST, "user": "u", "port": True}}, "properties.port must be"),
        ({"type": "postgres", "properties": {"host": HOST, "user": "u", "resource_id": "*"}}, "resource_id must be"),
        ({"type": "redshift", "properties": {"user": "u"}}, "properties.cluster is missing"),
        ({"type": "redshift", "properties": {"cluster": "c"}}, "needs a 'user' of the database"),
        ({"type": "redshift", "properties": {"cluster": "c", "user": "a/b"}}, "properties.user must be"),
        ({"type": "redshift", "properties": {"workgroup": "w", "cluster": "c"}}, "a login is for one of them"),
        ({"type": "redshift", "properties": {"workgroup": "w", "user": "u"}}, "one logs in as the role"),
        ({**RDS, "role": "nothing"}, "credentials.role_arn is no role's ARN"),
        ({**RDS, "role": None, "credentials": {"credential_source": "web_identity"}}, "or set role_arn"),
        ({**RDS, "role": None, "credentials": {"credential_source": None}}, "credential_source is missing"),
        ({**RDS, "region": "cn-north-1"}, "not in the role's partition"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_the_handle_is_made(settings: dict[str, Any], fault: str) -> None:
    broker, http = broker_of(**settings)
    with broker, pytest.raises(ConfigurationError) as caught:
        broker.compute("db")
    assert fault in str(caught.value)
    assert http.requests == []
