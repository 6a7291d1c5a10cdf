"""PyIceberg on SeaweedFS through the broker: what a pipeline does with a catalog, and what it cannot do."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import boto3
import pyarrow as pa
import pytest
import yaml
from pyiceberg.catalog import Catalog
from pyiceberg.catalog import load_catalog as stock_load_catalog
from pyiceberg.exceptions import NoSuchTableError

from credbroker import Broker, S3Credentials
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.errors import AccessDenied
from credbroker.integrations.pyiceberg import load_catalog

IO = Literal["pyarrow", "fsspec"]
ROWS = pa.table({"id": range(100)})
KINDS = ["vended", "assumed", "sql"]
WORKER = "import pickle, sys; print(pickle.load(sys.stdin.buffer).scan().to_arrow().num_rows)"


@pytest.fixture
def platform(seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file, with the secrets that it names in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    monkeypatch.setenv("CATALOG_SECRET", seaweed.secret_key)
    role = {
        "mode": "iam_role",
        "role_arn": seaweed.role_arn,
        "sts_endpoint": seaweed.sts_endpoint,
        "credential_source": "environment",
    }
    store = {"endpoint": seaweed.s3_endpoint, "region": "us-east-1", "access": "read_write", "credentials": role}
    secret = {"secret_ref": "catalog-secret"}
    catalog = {
        "uri": seaweed.catalog_uri,
        "warehouse": seaweed.warehouse,
        "credentials": {"mode": "oauth2", "client_id": seaweed.access_key, "client_secret": secret},
    }
    sql = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": "s3://lake/wh", "storage": "lake"}
    made = {
        "version": 1,
        "environment": "test",
        "catalogs": {
            "vended": catalog,
            "assumed": {**catalog, "access_delegation": "none", "storage": "warehouse"},
            "sql": sql,
        },
        "storage": {
            "lake": {**store, "locations": ["s3://lake/wh/"]},
            "warehouse": {**store, "locations": [f"{seaweed.warehouse}/shop/"]},
        },
    }
    path = tmp_path / "platform.yaml"
    path.write_text(yaml.safe_dump(made))
    return str(path)


@pytest.fixture
def broker(platform: str) -> Iterator[Broker]:
    with Broker.from_yaml(platform) as running:
        yield running


def opened(broker: Broker, kind: str, io: IO = "pyarrow", access: Literal["read", "read_write"] = "read_write") -> Catalog:
    catalog = load_catalog(broker, kind, access=access, io=io)
    catalog.create_namespace_if_not_exists("shop")
    return catalog


def fresh(catalog: Catalog, kind: str, what: str) -> Any:
    """A new table of two appends."""
    table = catalog.create_table(f"shop.{kind}_{what}", ROWS.schema)
    table.append(ROWS)
    table.append(ROWS)
    return table


def keys_below(seaweed: SeaweedFS, location: str) -> list[str]:
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    store = boto3.client(
        "s3",
        endpoint_url=seaweed.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=seaweed.access_key,
        aws_secret_access_key=seaweed.secret_key,
    )
    try:
        return [found["Key"] for found in store.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", ())]
    finally:
        store.close()


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_created_changed_renamed_and_dropped(broker: Broker, kind: str, io: IO) -> None:
    catalog = opened(broker, kind, io)
    table = fresh(catalog, kind, f"changed_{io}")
    assert table.scan().to_arrow().num_rows == 200
    table.overwrite(ROWS)
    table.delete("id < 10")
    assert table.refresh().scan("id < 20").to_arrow().num_rows == 10
    with table.transaction() as change:
        change.set_properties(owner="data")
        change.append(ROWS)
    renamed = catalog.rename_table(table.name(), f"shop.{kind}_renamed_{io}")
    assert renamed.scan().to_arrow().num_rows == 190
    assert renamed.properties["owner"] == "data"
    assert renamed.inspect.files().num_rows == 2
    catalog.drop_table(renamed.name())
    with pytest.raises(NoSuchTableError):
        catalog.load_table(renamed.name())


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
@pytest.mark.parametrize("kind", ["assumed", "sql"])
def test_a_table_is_created_with_its_rows_in_one_commit(broker: Broker, kind: str, io: IO) -> None:
    catalog = opened(broker, kind, io)
    with catalog.create_table_transaction(f"shop.{kind}_staged_{io}", ROWS.schema) as creation:
        creation.append(ROWS)
    assert catalog.load_table(f"shop.{kind}_staged_{io}").scan().to_arrow().num_rows == 100


def test_a_staged_table_of_a_catalog_with_no_storage_profile_is_refused_with_the_reason(broker: Broker) -> None:
    with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
        opened(broker, "vended").create_table_transaction("shop.refused", ROWS.schema)


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
def test_a_purge_leaves_nothing(broker: Broker, seaweed: SeaweedFS, io: IO) -> None:
    catalog = opened(broker, "sql", io)
    table = fresh(catalog, "sql", f"purged_{io}")
    assert len(keys_below(seaweed, table.location())) > 6
    catalog.purge_table(table.name())
    # Where Arrow deletes the last file of a folder, it marks the folder with an empty object of its name.
    assert [key for key in keys_below(seaweed, table.location()) if not key.endswith("/")] == []


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
def test_files_added_from_elsewhere_in_the_profile_are_read_and_from_beyond_it_are_not(broker: Broker, io: IO) -> None:
    catalog = opened(broker, "sql", io)
    table = fresh(catalog, "sql", f"adding_{io}")
    other = fresh(catalog, "sql", f"added_{io}")
    (file, _) = other.inspect.files()["file_path"].to_pylist()
    table.add_files([file])
    assert table.scan().to_arrow().num_rows == 300
    with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
        table.add_files(["s3://lake/hr/salaries.parquet"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_itself_refuses_what_lies_beside_the_table(broker: Broker, kind: str) -> None:
    catalog = opened(broker, kind)
    table = fresh(catalog, kind, "mine")
    other = fresh(catalog, kind, "mine2")  # the first one's name is a part of this one's
    store, path = table.io._file_system(table.metadata_location)
    assert store.open_input_file(path).read()
    for beside in (other.metadata_location, f"{other.location()}/data/x"):
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            store.open_input_file(beside.removeprefix("s3://")).read()
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            store.open_output_stream(beside.removeprefix("s3://")).close()


@pytest.mark.parametrize("kind", ["assumed", "sql"])
def test_a_catalog_loaded_to_read_has_keys_that_only_read(broker: Broker, kind: str) -> None:
    table = fresh(opened(broker, kind), kind, "read_only")
    reader = load_catalog(broker, kind).load_table(table.name())
    assert reader.scan().to_arrow().num_rows == 200
    with pytest.raises(AccessDenied, match="access='read_write' to write"):
        reader.append(ROWS)
    store, path = reader.io._file_system(f"{table.location()}/data/x")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        store.open_output_stream(path).close()


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_table_carries_no_secret_and_reads_in_another_process(
    broker: Broker, platform: str, seaweed: SeaweedFS, kind: str, io: IO
) -> None:
    table = fresh(opened(broker, kind, io), kind, f"pickled_{io}")
    assert table.scan().to_arrow().num_rows == 200
    secrets = (
        [seaweed.secret_key, broker.catalog(kind).get().value.get_secret_value()] if kind != "sql" else [seaweed.secret_key]
    )
    _, held = table.io._files.get(f"{table.location()}/data/x")
    assert isinstance(held, S3Credentials)
    assert held.session_token is not None
    secrets += [held.secret_access_key.get_secret_value(), held.session_token.get_secret_value()]
    for thing in (table, table.catalog, table.io, table.scan()):
        carried = pickle.dumps(thing)
        assert not [secret for secret in secrets if secret.encode() in carried]
    for shown in (table.io.properties, table.catalog.properties, table.config, table.io, table.catalog):
        assert not [secret for secret in secrets if secret in repr(shown)]

    carried = pickle.dumps(table)
    done = worker(carried, CREDBROKER_CONFIG=platform)
    assert done.stdout.split() == [b"200"], done.stderr.decode()


def test_a_worker_without_the_configuration_fails_and_uses_no_other_identity(broker: Broker, platform: str) -> None:
    """The worker's environment holds keys that could read everything."""
    carried = pickle.dumps(fresh(opened(broker, "sql"), "sql", "elsewhere"))
    Path(platform).rename(f"{platform}.away")
    done = worker(carried)
    assert done.returncode != 0
    assert b"ConfigurationError" in done.stderr
    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in done.stderr

    other = Path(f"{platform}.other")
    other.write_text("version: 1\nenvironment: test\n")
    done = worker(carried, CREDBROKER_CONFIG=str(other))
    assert done.returncode != 0
    assert b"ConfigurationError" in done.stderr


def worker(carried: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", WORKER],
        input=carried,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(("kind", "name"), [("vended", "BrokerRestCatalog"), ("sql", "BrokerSqlCatalog")])
def test_strings_alone_do_it(platform: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDBROKER_CONFIG", platform)
    words = {
        "py-catalog-impl": f"credbroker.integrations.pyiceberg.{name}",
        "credbroker.catalog": kind,
        "credbroker.access": "read_write",
    }
    try:
        catalog = stock_load_catalog("pipeline", **words)
        catalog.create_namespace_if_not_exists("shop")
        assert fresh(catalog, kind, "by_strings").scan().to_arrow().num_rows == 200
    finally:
        Broker.shared().close()
