"""Catalogs whose requests are signed with a role's keys: SeaweedFS' across the end of its sessions, and Glue by moto."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pyiceberg.catalog import load_catalog as stock_load_catalog
from pyiceberg.exceptions import NoSuchTableError
from tests.servers.aws import REGION, Aws
from tests.servers.signed_catalogs import glue_platform, make_glue_role, open_tables, rest_platform
from tests.servers.signed_proxy import Signed, SignedProxy

from credbroker import Broker, S3Credentials
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.errors import AccessDenied, ConfigurationError, IssueDenied
from credbroker.integrations.pyiceberg import load_catalog
from credbroker.system.clock import SystemClock

ROWS = pa.table({"id": range(100)})


@pytest.fixture
def proxied(seaweed_short: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedProxy]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed_short.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed_short.secret_key)
    open_tables(seaweed_short)
    with SignedProxy(seaweed_short.catalog_uri) as proxy:
        yield proxy


def secrets_of(broker: Broker, name: str) -> dict[str, str]:
    """The secret of every session that the catalog is asked with from now on, by its key."""
    known: dict[str, str] = {}

    def keep(value: Any) -> None:
        known[value.access_key_id] = value.secret_access_key.get_secret_value()

    for access in ("read", "read_write"):
        broker.catalog(name, access=access).on_refresh(keep)
    return known


@pytest.mark.parametrize("name", ["stored", "vended"])
def test_a_table_is_made_written_and_read_while_the_sessions_that_sign_end(
    seaweed_short: SeaweedFS, proxied: SignedProxy, name: str
) -> None:
    with Broker.from_config(rest_platform(seaweed_short, proxied.uri)) as broker:
        known = secrets_of(broker, name)
        catalog = load_catalog(broker, name, access="read_write")
        catalog.create_namespace_if_not_exists("signed")
        table = catalog.create_table(f"signed.{name}", ROWS.schema)
        clock, appends = SystemClock(), 0
        started = clock.elapsed()
        while clock.elapsed() - started < 9 or appends < 3:  # sessions live 3 to 4 s
            table.append(ROWS)
            appends += 1
            assert table.refresh().scan().to_arrow().num_rows == 100 * appends
        changes = [each.key for before, each in pairwise([None, *proxied.asked]) if before is None or before.key != each.key]
        assert len(changes) >= 3
        assert len(set(changes)) == len(changes), "older keys were used after newer ones"
        for asked in proxied.asked:
            assert (asked.service, asked.region) == ("s3tables", "us-east-1")
            assert asked.is_signed_with(known[asked.key])
        catalog.drop_table(f"signed.{name}")


def test_loaded_to_read_a_signed_catalog_has_keys_of_its_own_and_reads(
    seaweed_short: SeaweedFS, proxied: SignedProxy
) -> None:
    with Broker.from_config(rest_platform(seaweed_short, proxied.uri)) as broker:
        writer = load_catalog(broker, "stored", access="read_write")
        writer.create_namespace_if_not_exists("signed")
        writer.create_table("signed.read_only", ROWS.schema).append(ROWS)
        before = len(proxied.asked)
        reader = load_catalog(broker, "stored")
        assert reader.load_table("signed.read_only").scan().to_arrow().num_rows == 100
        keys = {asked.key for asked in proxied.asked[before:]}
        assert keys.isdisjoint(asked.key for asked in proxied.asked[:before])
        value = broker.catalog("stored").get()
        assert isinstance(value, S3Credentials)
        assert (value.locations, value.access) == (None, "read")
        with pytest.raises(AccessDenied, match="access='read_write' to write"):
            reader.load_table("signed.read_only").append(ROWS)


def test_keys_that_sts_did_not_give_are_refused_and_the_refusal_is_the_callers(
    seaweed_short: SeaweedFS, proxied: SignedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-nobody")
    with Broker.from_config(rest_platform(seaweed_short, proxied.uri)) as broker:
        with pytest.raises(IssueDenied) as caught:
            load_catalog(broker, "stored")
        assert "canary" not in str(caught.value)
    assert proxied.asked == []


# -- Glue --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def glue(moto_aws: Aws, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedProxy]:
    """Glue as moto plays it, and a role that may use it; files are SeaweedFS'."""
    make_glue_role(moto_aws)
    monkeypatch.setenv("LAKE_KEYS", f"{seaweed.access_key}:{seaweed.secret_key}")
    with SignedProxy(f"http://127.0.0.1:{moto_aws.port}") as proxy:
        yield proxy


def operations(asked: list[Signed]) -> list[str]:
    return [each.target.partition(".")[2] for each in asked]


def test_glue_is_asked_with_the_sessions_keys_of_the_moment(moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS) -> None:
    with Broker.from_config(glue_platform(moto_aws, glue, seaweed)) as broker:
        source: Any = broker.catalog("glue", access="read_write")
        catalog = load_catalog(broker, "glue", access="read_write")
        catalog.create_namespace("shop")
        table = catalog.create_table("shop.orders", ROWS.schema)
        known = {}
        for rows in (100, 200, 300):
            value = source.get()
            known[value.access_key_id] = value.secret_access_key.get_secret_value()
            before = len(glue.asked)
            table.append(ROWS)
            assert catalog.load_table("shop.orders").scan().to_arrow().num_rows == rows
            asked = glue.asked[before:]
            assert {each.key for each in asked} == {value.access_key_id}
            assert all(each.is_signed_with(known[each.key]) for each in asked)
            assert {"GetTable", "UpdateTable"} <= set(operations(asked))
            assert {(each.service, each.region) for each in asked} == {("glue", REGION)}
            # As an administrator would: what is held is dropped, under the catalog that is open.
            broker.purge("glue")
        assert len(known) == 3
        assert catalog.list_namespaces() == [("shop",)]
        renamed = catalog.rename_table("shop.orders", "shop.sold")
        assert pickle.loads(pickle.dumps(renamed)).scan().to_arrow().num_rows == 300
        assert not [secret for secret in known.values() if secret.encode() in pickle.dumps(renamed)]
        catalog.purge_table("shop.sold")
        with pytest.raises(NoSuchTableError):
            catalog.load_table("shop.sold")
        catalog.drop_namespace("shop")


def test_glue_loaded_to_read_changes_nothing(moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS) -> None:
    with Broker.from_config(glue_platform(moto_aws, glue, seaweed)) as broker:
        writer = load_catalog(broker, "glue", access="read_write")
        writer.create_namespace("ledger")
        writer.create_table("ledger.entries", ROWS.schema).append(ROWS)
        reader = load_catalog(broker, "glue")
        assert reader.load_table("ledger.entries").scan().to_arrow().num_rows == 100
        before = len(glue.asked)
        for change in (
            lambda: reader.drop_table("ledger.entries"),
            lambda: reader.create_namespace("other"),
            lambda: reader.rename_table("ledger.entries", "ledger.other"),
            lambda: reader.update_namespace_properties("ledger", updates={"a": "b"}),
        ):
            with pytest.raises(AccessDenied, match="access='read_write' to write"):
                change()
        assert len(glue.asked) == before
        with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
            writer.create_table("ledger.elsewhere", ROWS.schema, location="s3://lake/hr/x")


def test_glue_takes_nothing_of_the_environment(
    moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "absent",
        "AWS_ENDPOINT_URL_GLUE": "http://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_DEFAULTS_MODE": "auto",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_REGION": "us-west-2",
    }.items():
        monkeypatch.setenv(name, value)
    with Broker.from_config(glue_platform(moto_aws, glue, seaweed)) as broker:
        assert ("default",) not in load_catalog(broker, "glue").list_namespaces()
        assert operations(glue.asked) == ["GetDatabases"]


def test_the_glue_catalog_of_another_account_is_named_in_each_call(
    moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS
) -> None:
    platform = glue_platform(moto_aws, glue, seaweed, properties={"glue.id": "210987654321"})
    with Broker.from_config(platform) as broker:
        load_catalog(broker, "glue").list_namespaces()
        assert json.loads(glue.asked[-1].body)["CatalogId"] == "210987654321"
        resources = str(broker.catalog("glue").explain().policy)
        assert ":210987654321:database/*" in resources
        assert "123456789012" not in resources


def test_strings_alone_open_glue(
    moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps(glue_platform(moto_aws, glue, seaweed)))
    monkeypatch.setenv("CREDBROKER_CONFIG", str(path))
    words = {"py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerGlueCatalog", "credbroker.catalog": "glue"}
    try:
        assert isinstance(stock_load_catalog("pipeline", **words).list_namespaces(), list)
        with pytest.raises(ConfigurationError, match=r"glue\.endpoint"):
            stock_load_catalog("pipeline", **words, **{"glue.endpoint": "http://127.0.0.1:9"})
    finally:
        Broker.shared().close()


def test_glues_own_no_is_the_callers(moto_aws: Aws, glue: SignedProxy, seaweed: SeaweedFS) -> None:
    """A role that may do nothing in Glue: AWS says no to the call, and no other keys are tried."""
    with moto_aws.client("iam") as iam:
        iam.delete_role_policy(RoleName="Catalogs", PolicyName="glue")
        try:
            with Broker.from_config(glue_platform(moto_aws, glue, seaweed)) as broker:
                with pytest.raises(ClientError, match="not authorized"):
                    load_catalog(broker, "glue").list_namespaces()
                assert operations(glue.asked) == ["GetDatabases"]
        finally:
            may = {"Effect": "Allow", "Action": "glue:*", "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
            iam.put_role_policy(RoleName="Catalogs", PolicyName="glue", PolicyDocument=document)
