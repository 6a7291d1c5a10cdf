"""The main job, where sessions last 3 to 4 s: 60 files are written, committed and scanned while keys come and go.

What was refused is counted by a proxy at the store's door. The stock FileIO does the same scan and fails: the peril is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog as stock_load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField
from pyiceberg.utils.concurrent import ExecutorFactory
from tests.live.conftest import SHORT_SESSION

from credbroker import Broker, S3Credentials
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.integrations.pyiceberg import load_catalog

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

FILES = 60
ROWS = 50  # a file
WORKERS = 2
SCHEMA = Schema(NestedField(1, "day", LongType(), required=False), NestedField(2, "id", LongType(), required=False))
BY_DAY = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "day"))
# Seconds before each GET of a data file. Arrow sends two for such a file, s3fs one: a scan takes some 8 s either way.
DELAY = {"pyarrow": 0.12, "fsspec": 0.24}
STOCK = {"pyarrow": "pyiceberg.io.pyarrow.PyArrowFileIO", "fsspec": "pyiceberg.io.fsspec.FsspecFileIO"}
IO = Literal["pyarrow", "fsspec"]


@pytest.fixture(scope="module")
def door() -> Iterator[PacingProxy]:
    with PacingProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def store(door: PacingProxy) -> Iterator[SeaweedFS]:
    with SeaweedFS(session=SHORT_SESSION, external_url=door.url) as running:
        door.forward_to(running.s3_endpoint)
        yield running


@pytest.fixture(autouse=True)
def _few_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyIceberg opens all files of a scan at once, as far as it has threads."""
    with ThreadPoolExecutor(WORKERS) as workers:
        monkeypatch.setattr(ExecutorFactory, "get_or_create", staticmethod(lambda: workers))
        yield


@pytest.fixture
def broker(store: SeaweedFS, door: PacingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
    monkeypatch.setenv("CATALOG_SECRET", store.secret_key)
    lake = {
        "endpoint": door.url,
        "region": "us-east-1",
        "locations": ["s3://lake/wh/"],
        "access": "read_write",
        "credentials": {
            "mode": "iam_role",
            "role_arn": store.role_arn,
            "sts_endpoint": store.sts_endpoint,
            "credential_source": "environment",
        },
    }
    rest = {
        "uri": store.catalog_uri,
        "warehouse": store.warehouse,
        "credentials": {"mode": "oauth2", "client_id": store.access_key, "client_secret": {"secret_ref": "catalog-secret"}},
    }
    sql = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": "s3://lake/wh", "storage": "lake"}
    with Broker.from_config(
        {"version": 1, "environment": "test", "catalogs": {"rest": rest, "sql": sql}, "storage": {"lake": lake}}
    ) as running:
        yield running


def orders(first: int, files: int) -> pa.Table:
    days = [day for day in range(first, first + files) for _ in range(ROWS)]
    return pa.table({"day": days, "id": range(first * ROWS, (first + files) * ROWS)}, SCHEMA.as_arrow())


def stock_catalog(kind: str, io: IO, *, broker: Broker, store: SeaweedFS, door: PacingProxy, folder: Path) -> Catalog:
    """PyIceberg as it comes, with the same keys to begin with."""
    if kind == "rest":
        return stock_load_catalog(
            "rest",
            type="rest",
            uri=store.catalog_uri,
            warehouse=store.warehouse,
            credential=f"{store.access_key}:{store.secret_key}",
            **{"oauth2-server-uri": f"{store.catalog_uri}/v1/oauth/tokens", "py-io-impl": STOCK[io]},
        )
    keys: Any = broker.storage("lake", "s3://lake/wh/", access="read").get()
    assert isinstance(keys, S3Credentials)
    assert keys.session_token is not None
    return stock_load_catalog(
        "sql",
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        **{
            "py-io-impl": STOCK[io],
            "s3.endpoint": door.url,
            "s3.region": "us-east-1",
            "s3.access-key-id": keys.access_key_id,
            "s3.secret-access-key": keys.secret_access_key.get_secret_value(),
            "s3.session-token": keys.session_token.get_secret_value(),
        },
    )


@pytest.mark.parametrize("io", ["pyarrow", "fsspec"])
@pytest.mark.parametrize("kind", ["rest", "sql"])
def test_a_job_outlives_its_keys_and_the_stock_one_does_not(  # noqa: PLR0917 - fixtures
    kind: str, io: IO, broker: Broker, store: SeaweedFS, door: PacingProxy, tmp_path: Path
) -> None:
    name = f"job.{io}"
    door.delay = DELAY[io]
    catalog = load_catalog(broker, kind, access="read_write", io=io)
    catalog.create_namespace_if_not_exists("job")
    with door.watch() as tally:
        table = catalog.create_table(name, SCHEMA, partition_spec=BY_DAY)
        table.append(orders(0, FILES // 2))
        scan = table.scan()
        assert scan.to_arrow().num_rows == ROWS * FILES // 2
        table.append(orders(FILES // 2, FILES // 2))  # the same handles: their first keys are dead by now
        assert sorted(table.scan().to_arrow()["id"].to_pylist()) == list(range(FILES * ROWS))
        table.delete("day < 10")
        assert scan.count() == ROWS * FILES // 2
        assert catalog.load_table(name).scan().count() == ROWS * (FILES - 10)
    assert tally.refused_expired == 0
    assert tally.denied == 0
    assert len({passage.path for passage in tally.opens}) == FILES
    assert tally.replaced >= 3

    stock = stock_catalog(kind, io, broker=broker, store=store, door=door, folder=tmp_path)
    with door.watch() as tally:
        scan = stock.load_table(name).scan()
        with pytest.raises(OSError):  # noqa: PT011 - what Arrow and s3fs say differs, and names no cause
            scan.to_arrow()
    assert tally.refused_expired > 0
