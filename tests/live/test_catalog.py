"""``catalog`` against SeaweedFS's Iceberg REST catalog, by loading the table and by ``/credentials``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.servers.credentials_proxy import CredentialsProxy

from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.credentials import S3Credentials, TableCredentials
from credbroker.errors import AccessDenied, CredentialUnavailable, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.location import Location
from credbroker.request import Access

SCHEMA = {"type": "struct", "fields": [{"id": 1, "name": "amount", "type": "long", "required": False}]}
ORDERS = "/v1/warehouse/namespaces/sales/tables/orders"
TABLES: dict[str, dict[str, str]] = {
    "orders": {},
    "orders2": {},
    "apart": {"write.data.path": "s3://lake/blocks"},
    "stray-data": {"write.data.path": "s3://warehouse/finance/blocks"},
    "stray-metadata": {"write.metadata.path": "s3://lake/metadata"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    with SeaweedFS() as running:
        form = {"grant_type": "client_credentials", "client_id": running.access_key, "client_secret": running.secret_key}
        with requests.Session() as session:
            token = session.post(f"{running.catalog_uri}/v1/oauth/tokens", data=form, timeout=30).json()["access_token"]
            session.headers["Authorization"] = f"Bearer {token}"
            namespaces = f"{running.catalog_uri}/v1/warehouse/namespaces"
            session.post(namespaces, json={"namespace": ["sales"]}, timeout=30).raise_for_status()
            for name, properties in TABLES.items():
                table = {"name": name, "schema": SCHEMA, "properties": properties}
                session.post(f"{namespaces}/sales/tables", json=table, timeout=30).raise_for_status()
        yield running


@pytest.fixture
def proxy(server: SeaweedFS) -> Iterator[CredentialsProxy]:
    with CredentialsProxy(server.catalog_uri) as running:
        yield running


@pytest.fixture(autouse=True)
def keys(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    monkeypatch.setenv("LIVE_CATALOG_SECRET", server.secret_key)


def platform(server: SeaweedFS, uri: str, **catalog: Any) -> dict[str, Any]:
    credentials = {
        "mode": "oauth2",
        "token_url": f"{uri}/v1/oauth/tokens",
        "client_id": server.access_key,
        "client_secret": {"secret_ref": "live-catalog-secret"},
        "token_endpoint_auth_method": "client_secret_post",
    }
    role = {
        "mode": "iam_role",
        "role_arn": server.role_arn,
        "sts_endpoint": server.sts_endpoint,
        "credential_source": "environment",
    }
    store = {"endpoint": server.s3_endpoint, "region": "us-east-1", "access": "read_write", "credentials": role}
    return {
        "version": 1,
        "environment": "test",
        "catalogs": {"production": {"uri": uri, "warehouse": server.warehouse, "credentials": credentials, **catalog}},
        "storage": {
            "warehouse": {**store, "locations": ["s3://warehouse/sales/"]},
            "elsewhere": {**store, "locations": ["s3://lake/"]},
        },
    }


@contextmanager
def opened(server: SeaweedFS, value: TableCredentials, uri: str) -> Iterator[Any]:
    keys = value.for_location(uri)
    assert isinstance(keys, S3Credentials)
    assert keys.session_token is not None
    assert keys.endpoint == server.s3_endpoint
    client = boto3.client(
        "s3",
        endpoint_url=keys.endpoint,
        region_name=keys.region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key.get_secret_value(),
        aws_session_token=keys.session_token.get_secret_value(),
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    with closing(client):
        yield client


def opens_its_own_table_only(server: SeaweedFS, value: TableCredentials) -> None:
    with opened(server, value, "s3://warehouse/sales/orders/data/x") as client:
        client.put_object(Bucket="warehouse", Key="sales/orders/data/x", Body=b"1")
        assert client.get_object(Bucket="warehouse", Key="sales/orders/data/x")["Body"].read() == b"1"
        for bucket, key in (("warehouse", "sales/orders2/data/x"), ("warehouse", "sales/x"), ("lake", "sales/orders/x")):
            for call, body in ((client.put_object, {"Body": b""}), (client.get_object, {})):
                with pytest.raises(ClientError) as caught:
                    call(Bucket=bucket, Key=key, **body)
                assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_loading_the_table_vends_keys_for_that_table_only(server: SeaweedFS) -> None:
    with Broker.from_config(platform(server, server.catalog_uri)) as broker:
        value = broker.table("production", "sales.orders").get()
    assert isinstance(value, TableCredentials)
    assert value.locations == (Location.parse("s3://warehouse/sales/orders"),)
    assert value.access is None
    assert value.expires_at is not None
    assert timedelta(minutes=55) < value.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    opens_its_own_table_only(server, value)


def test_the_credentials_route_vends_the_same_where_the_server_has_it(server: SeaweedFS, proxy: CredentialsProxy) -> None:
    with Broker.from_config(platform(server, proxy.uri)) as broker:
        value = broker.table("production", "sales.orders").get()
    assert isinstance(value, TableCredentials)
    assert proxy.seen[1:] == [("GET", "/v1/config"), ("GET", f"{ORDERS}/credentials")]
    opens_its_own_table_only(server, value)


@pytest.mark.parametrize("status", [401, 419])
def test_a_token_that_the_catalog_refuses_is_renewed_once(server: SeaweedFS, proxy: CredentialsProxy, status: int) -> None:
    proxy.refusals = [status]
    with Broker.from_config(platform(server, proxy.uri)) as broker:
        opens_its_own_table_only(server, broker.table("production", "sales.orders").get())
    asked = [path for _, path in proxy.seen]
    assert asked == ["/v1/oauth/tokens", "/v1/config", "/v1/oauth/tokens", "/v1/config", f"{ORDERS}/credentials"]


def test_a_catalog_that_goes_on_refusing_is_asked_twice_and_no_more(server: SeaweedFS, proxy: CredentialsProxy) -> None:
    proxy.refusals = [401] * 9
    with Broker.from_config(platform(server, proxy.uri)) as broker, pytest.raises(IssueDenied, match="token") as caught:
        broker.table("production", "sales.orders").get()
    assert not caught.value.grant_denied
    assert [path for _, path in proxy.seen if path == "/v1/config"] == ["/v1/config"] * 2


def test_without_delegation_the_storage_profile_serves_the_table(server: SeaweedFS) -> None:
    stores = {"access_delegation": "none", "storage": ["elsewhere", "warehouse"]}
    with Broker.from_config(platform(server, server.catalog_uri, **stores)) as broker:
        value = broker.table("production", "sales.orders", access="read_write").get()
    assert isinstance(value, TableCredentials)
    assert value.access is Access.READ_WRITE
    opens_its_own_table_only(server, value)


@pytest.mark.parametrize(
    "stores", [{"warehouse": ["s3://warehouse/sales/", "s3://lake/"]}, {"warehouse": ["s3://warehouse/sales/"]}]
)
def test_the_folder_that_a_table_writes_to_is_asked_for_with_it(server: SeaweedFS, stores: dict[str, list[str]]) -> None:
    """By one session for both, or by one of each storage profile."""
    setup = platform(server, server.catalog_uri, access_delegation="none", storage=["warehouse", "elsewhere"])
    setup["storage"]["warehouse"]["locations"] = stores["warehouse"]
    with Broker.from_config(setup) as broker:
        value = broker.table("production", "sales.apart", access="read_write").get()
        asked = [entry["locations"] for entry in broker.status() if entry["kind"] == "storage"]
    both = ["s3://lake/blocks/", "s3://warehouse/sales/apart/"]
    assert sorted(str(location) for location in value.locations) == both
    assert sorted(asked) == ([both] if "s3://lake/" in stores["warehouse"] else [[place] for place in both])
    for bucket, key, outside in (
        ("warehouse", "sales/apart/data/x", "sales/orders/data/x"),
        ("lake", "blocks/x", "blocks2/x"),
    ):
        with opened(server, value, f"s3://{bucket}/{key}") as client:
            client.put_object(Bucket=bucket, Key=key, Body=b"1")
            with pytest.raises(ClientError) as caught:
                client.put_object(Bucket=bucket, Key=outside, Body=b"1")
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("delegation", ["vended-credentials", "none"])
@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("stray-data", r"s3://warehouse/finance/blocks/ as the table's write\.data\.path"),
        ("stray-metadata", r"s3://lake/metadata/ as the table's write\.metadata\.path"),
    ],
)
def test_a_table_that_would_write_outside_gets_nothing_though_the_catalog_would_vend(
    server: SeaweedFS, delegation: str, table: str, named: str
) -> None:
    stores = {"access_delegation": delegation, "storage": ["warehouse"]}
    with (
        Broker.from_config(platform(server, server.catalog_uri, **stores)) as broker,
        pytest.raises(MalformedResponse, match=named),
    ):
        broker.table("production", ("sales", table)).get()


def test_what_is_vended_without_a_word_of_the_table_serves_its_prefix_alone(
    server: SeaweedFS, proxy: CredentialsProxy
) -> None:
    """``/credentials`` says nothing of the table's properties: no file is served where they lead."""
    with Broker.from_config(platform(server, proxy.uri, storage=["warehouse"])) as broker:
        value = broker.table("production", ("sales", "stray-data")).get()
    assert value.locations == (Location.parse("s3://warehouse/sales/stray-data"),)
    with pytest.raises(AccessDenied, match="lies outside"):
        value.for_location("s3://warehouse/finance/blocks/x")


def test_a_table_that_no_storage_profile_contains_is_beyond_the_limits(server: SeaweedFS) -> None:
    stores = {"access_delegation": "none", "storage": ["elsewhere"]}
    with (
        Broker.from_config(platform(server, server.catalog_uri, **stores)) as broker,
        pytest.raises(AccessDenied, match="elsewhere: s3://lake/"),
    ):
        broker.table("production", "sales.orders").get()


def test_keys_for_another_place_than_the_profile_allows_are_not_taken(server: SeaweedFS) -> None:
    bounds = {"locations": ["s3://warehouse/finance/"]}
    with (
        Broker.from_config(platform(server, server.catalog_uri, **bounds)) as broker,
        pytest.raises(MalformedResponse, match=r"outside of what its profile allows.*catalogs\.production\.locations"),
    ):
        broker.table("production", "sales.orders").get()


def test_a_table_that_is_not_there_is_the_catalogs_refusal(server: SeaweedFS) -> None:
    with (
        Broker.from_config(platform(server, server.catalog_uri)) as broker,
        pytest.raises(IssueDenied, match="404") as caught,
    ):
        broker.table("production", "sales.absent").get()
    assert caught.value.grant_denied


def test_an_issuer_that_is_silent_is_named(server: SeaweedFS) -> None:
    """The flight's own deadline passes at the same moment, and knows no host."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        setup = platform(server, f"http://127.0.0.1:{silent.getsockname()[1]}")
        setup["catalogs"]["production"]["credentials"]["timeout"] = "1s"
        with (
            Broker.from_config(setup) as broker,
            pytest.raises(IssuerUnavailable, match=r"^production: 127\.0\.0\.1:\d+ did not"),
        ):
            broker.catalog("production").get()


def test_keys_of_a_storage_profile_that_cannot_be_had_say_why_that_one_was_asked(
    server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    stores = {"access_delegation": "none", "storage": ["warehouse"]}
    text = r"for sales\.orders; its storage profile 'warehouse' is used: .*AWS_ACCESS_KEY_ID"
    with (
        Broker.from_config(platform(server, server.catalog_uri, **stores)) as broker,
        pytest.raises(CredentialUnavailable, match=text),
    ):
        broker.table("production", "sales.orders").get()
