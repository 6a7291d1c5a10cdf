"""``iam_role`` on a catalog: what the role is narrowed to, what comes of it, and which settings cannot work."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from credbroker import Broker, S3Credentials
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.providers._signed_catalog import refuses_keys
from credbroker.testing import FakeHttp, ManualClock, answer

ROLE = "arn:aws:iam::123456789012:role/Catalogs"
BUCKET = "arn:aws:s3tables:eu-west-1:123456789012:bucket/acme"
SIGNED = {"rest.sigv4-enabled": True, "rest.signing-name": "glue"}
TABLES = {
    "uri": "https://s3tables.eu-west-1.amazonaws.com/iceberg",
    "properties": {"rest.sigv4-enabled": True, "rest.signing-name": "s3tables"},
}
ANSWER = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAMADEUP</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-token</SessionToken>
<Expiration>2026-01-01T01:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


class Variables:
    def variable(self, name: str) -> str | None:
        return {"AWS_ACCESS_KEY_ID": "AKIABASE", "AWS_SECRET_ACCESS_KEY": "base-secret"}.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise FileNotFoundError(path)

    def names(self, path: str) -> tuple[str, ...] | None:
        return None


def broker_of(*answers: Any, **settings: Any) -> tuple[Broker, FakeHttp]:
    credentials = {
        "mode": "iam_role",
        "role_arn": ROLE,
        "credential_source": "environment",
        **settings.pop("credentials", {}),
    }
    catalog = {"region": "eu-west-1", **settings, "credentials": credentials}
    http = FakeHttp(*answers)
    config = {
        "environment": "test",
        "catalogs": {"c": {key: value for key, value in catalog.items() if value is not None}},
    }
    return Broker.from_config(config, context=Context(clock=ManualClock(), http=http, environment=Variables())), http


def fault_of(**settings: Any) -> str:
    broker, http = broker_of(**settings)
    with broker, pytest.raises(ConfigurationError) as caught:
        broker.catalog("c")
    assert http.requests == []
    return str(caught.value)


def policy_of(access: str | None = None, **settings: Any) -> str:
    broker, _ = broker_of(**settings)
    with broker:
        grant = broker.catalog("c", access=access).explain()
        assert grant.locations is None
        return json.dumps(grant.policy)


def asked(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl((request.body or b"").decode()))


@pytest.fixture
def answered() -> HttpResponse:
    return answer(ANSWER)


def test_the_value_is_the_roles_keys_for_no_location(answered: HttpResponse) -> None:
    broker, http = broker_of(answered, type="glue", properties={"glue.databases": "sales"})
    with broker:
        source: Any = broker.catalog("c")
        value = source.get()
        assert isinstance(value, S3Credentials)
        assert (value.access_key_id, value.region, value.endpoint) == ("ASIAMADEUP", "eu-west-1", None)
        # Keys that open no object of any bucket: there is no location to state.
        assert (value.locations, value.access) == (None, "read")
        (request,) = http.requests
        assert request.url == "https://sts.eu-west-1.amazonaws.com/"
        assert asked(request)["RoleArn"] == ROLE
        assert json.loads(asked(request)["Policy"]) == source.explain().policy


def test_reading_and_writing_are_two_sessions(answered: HttpResponse) -> None:
    broker, http = broker_of(answered, answered, type="s3tables", warehouse=BUCKET)
    with broker:
        assert broker.catalog("c", access="read").get() is broker.catalog("c").get()
        broker.catalog("c", access="read_write").get()
    reading, writing = (asked(request)["Policy"] for request in http.requests)
    assert "PutTableData" not in reading
    assert "PutTableData" in writing


def test_a_catalog_to_be_read_is_not_written() -> None:
    broker, http = broker_of(type="glue", access="read")
    with broker, pytest.raises(AccessDenied, match="the profile allows 'read'"):
        broker.catalog("c", access="read_write")
    assert http.requests == []


def test_glue_is_the_roles_accounts_unless_another_is_named() -> None:
    assert "arn:aws:glue:eu-west-1:123456789012:table/*/*" in policy_of(type="glue")
    assert "arn:aws:glue:eu-west-1:123456789012:table/sales/*" in policy_of(
        type="glue", properties={"glue.databases": "sales, hr.people"}
    )
    assert "arn:aws:glue:eu-west-1:210987654321:database/s3tablescatalog/acme/*" in policy_of(
        type="glue", properties={"glue.id": "210987654321:s3tablescatalog/acme"}
    )


def test_the_rest_endpoint_of_glue_has_its_catalog_as_the_warehouse() -> None:
    rest = {"uri": "https://glue.eu-west-1.amazonaws.com/iceberg", "properties": SIGNED}
    text = policy_of(**rest, warehouse="210987654321:s3tablescatalog/acme")
    assert "arn:aws:glue:eu-west-1:210987654321:catalog/s3tablescatalog/acme" in text
    assert "lakeformation:GetDataAccess" in text
    assert "lakeformation" not in policy_of(**rest, warehouse="210987654321", access_delegation="none")
    assert "warehouse must be the id of a Glue catalog" in fault_of(**rest, warehouse="s3://lake")


def test_a_bucket_by_its_name_is_another_servers_whose_accounts_are_its_own() -> None:
    own = {"sts_endpoint": "https://seaweedfs.example"}
    assert "arn:aws:s3tables:*:*:bucket/acme" in policy_of(**TABLES, warehouse="s3://acme", credentials=own)
    assert "s3tables:*" not in policy_of(**TABLES, warehouse=BUCKET)


@pytest.mark.parametrize(("status", "refused"), [(400, True), (403, True), (200, False), (404, False), (503, False)])
def test_keys_are_refused_by_the_code_of_a_refusal(status: int, refused: bool) -> None:
    assert refuses_keys(status, {"x-amzn-errortype": "ExpiredTokenException"}, b"") is refused
    assert refuses_keys(status, {}, b'{"__type": "aws#ExpiredTokenException:http://x/#y"}') is refused
    assert not refuses_keys(
        status, {"x-amzn-errortype": "AccessDeniedException"}, b'{"__type": 1, "error": [], "Code": null}'
    )


def test_an_api_is_the_one_in_the_hosts_name() -> None:
    enabled = {"rest.sigv4-enabled": "true"}
    policy = policy_of(uri="https://abc123.execute-api.eu-west-1.amazonaws.com/prod", properties=enabled)
    assert "arn:aws:execute-api:eu-west-1:*:abc123/*/GET/*" in policy
    assert "eu-west-1:*:*/*/GET/*" in policy_of(uri="https://catalog.example", properties=enabled)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"type": "glue", "region": None}, "region is missing: the regional STS endpoint"),
        ({"type": "glue", "region": "nowhere"}, "region is no AWS region"),
        ({"type": "glue", "region": "cn-north-1"}, "not in the role's partition 'aws'"),
        ({"type": "glue", "uri": "http://glue.example"}, "catalogs.c.uri is plain http"),
        ({"type": "glue", "properties": {"glue.databases": "sales.*"}}, "glue.databases must list databases"),
        ({"type": "glue", "properties": {"glue.databases": "a.b.c"}}, "glue.databases must list databases"),
        *(({"type": "glue", "properties": {"glue.databases": blank}}, "names no database") for blank in ("", " ", " , ,")),
        ({"type": "glue", "properties": {"glue.id": "acme"}}, "glue.id must be the id of a Glue catalog"),
        ({"type": "glue", "credentials": {"role_arn": None}}, "role_arn is missing"),
        ({"type": "glue", "credentials": {"credential_source": None}}, "credential_source is missing"),
        ({"type": "s3tables"}, "warehouse must be the table bucket's ARN"),
        ({"type": "s3tables", "warehouse": "s3://acme"}, "warehouse must be the table bucket's ARN"),
        ({**TABLES, "warehouse": "s3://acme"}, "warehouse must be the table bucket's ARN where the role is AWS's"),
        (
            {**TABLES, "warehouse": "s3://acme", "credentials": {"sts_endpoint": "https://sts.eu-west-1.amazonaws.com"}},
            "warehouse must be the table bucket's ARN where the role is AWS's",
        ),
        ({"type": "s3tables", "warehouse": BUCKET.replace("eu-west", "us-east")}, "table bucket of another region"),
        ({"type": "s3tables", "warehouse": BUCKET.replace("aws", "aws-cn", 1)}, "warehouse is not in the role's partition"),
        ({"type": "s3tables", "warehouse": f"{BUCKET}*"}, "warehouse must be the table bucket's ARN"),
        ({"uri": "https://c.example"}, "properties.rest.sigv4-enabled must be true"),
        ({"uri": "https://c.example", "properties": {"rest.sigv4-enabled": "no"}}, "rest.sigv4-enabled must be true"),
        ({"properties": SIGNED, "warehouse": "123456789012"}, "uri is missing"),
        (
            {"uri": "https://c.example", "properties": {**SIGNED, "rest.signing-name": "s3"}},
            "rest.signing-name must be one of execute-api, glue, s3tables",
        ),
        (
            {"uri": "https://c.example", "properties": {**SIGNED, "rest.signing-region": "here"}},
            "rest.signing-region must be an AWS region",
        ),
        ({"type": "nessie"}, "'nessie' is not supported"),
        (
            {"type": "glue", "properties": {"glue.databases": ",".join(f"database_{n}" for n in range(60))}},
            "name fewer or shorter databases",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_when_the_handle_is_made(settings: dict[str, Any], fault: str) -> None:
    assert fault in fault_of(**settings)
