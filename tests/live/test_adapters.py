"""boto3, Polars and DuckDB at a real store whose sessions live for 4 s: one client object each, over three rotations.

Which keys each has used, and what the store answered, is what was seen at the store's door.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import duckdb
import polars as pl
import pytest
from botocore.exceptions import ClientError
from tests.live.conftest import SHORT_SESSION
from tests.live.test_sidecar_local import Owner
from tests.servers.duckdb_extensions import connect
from tests.servers.store import owned

from credbroker import Broker
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.seaweed import REGION, SeaweedFS
from credbroker.cli.demo.tally import Passage
from credbroker.context import Context
from credbroker.errors import AccessDenied
from credbroker.integrations.boto3 import session
from credbroker.integrations.duckdb import secret
from credbroker.integrations.duckdb_settings import settings_of
from credbroker.integrations.polars import credential_provider, storage_options
from credbroker.source import CredentialSource
from credbroker.system.http import SystemHttp

INSIDE, BESIDE = "adapters/in/f.parquet", "adapters/in2/f.parquet"
ROTATIONS = 3
PATIENCE = 60.0
pytestmark = pytest.mark.filterwarnings("ignore:the `credential_provider` parameter")  # Polars calls it unstable


@dataclass
class Door:
    """A way to the store, and what passed there."""

    broker: Broker
    lake: CredentialSource[Any]
    seen: list[Passage]

    def used(self) -> set[str]:
        return {passage.key_id for passage in list(self.seen) if passage.status < 400}

    def refused(self) -> list[Passage]:
        return [passage for passage in list(self.seen) if passage.status in {400, 401, 403}]

    def over_rotations(self, operation: Callable[[], object]) -> None:
        """Do it again and again until the store has seen a first session and those of three rotations."""
        ends = time.monotonic() + PATIENCE
        while len(self.used()) <= ROTATIONS:
            assert time.monotonic() < ends, self.used()
            operation()
            threading.Event().wait(0.1)
        assert self.refused() == []


@pytest.fixture(scope="module", autouse=True)
def _filled(seaweed_short: SeaweedFS) -> None:
    file = io.BytesIO()
    pl.DataFrame({"id": [1, 2, 3]}).write_parquet(file)
    with owned(seaweed_short) as owner:
        for key in (INSIDE, BESIDE):
            owner.put_object(Bucket="lake", Key=key, Body=file.getvalue())


@pytest.fixture
def door(seaweed_short: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower() == "no_proxy":
            monkeypatch.delenv(name)
    with PacingProxy() as proxy:
        proxy.forward_to(seaweed_short.s3_endpoint)
        role = {"mode": "iam_role", "role_arn": seaweed_short.role_arn, "sts_endpoint": seaweed_short.sts_endpoint}
        profile = {
            "endpoint": proxy.url,
            "region": REGION,
            "locations": ["s3://lake/adapters/"],
            "access": "read_write",
            "credentials": {**role, "credential_source": "environment"},
        }
        context = Context(http=SystemHttp(), environment=Owner(seaweed_short))
        seen: list[Passage] = []
        with (
            Broker.from_config({"environment": "test", "storage": {"lake": profile}}, context=context) as broker,
            proxy.watch(seen.append),
        ):
            yield Door(broker, broker.storage("lake", "s3://lake/adapters/in", access="read_write"), seen)


def test_boto3(door: Door) -> None:
    client = session(door.lake).client("s3")

    def read() -> None:
        assert client.get_object(Bucket="lake", Key=INSIDE)["Body"].read()

    door.over_rotations(read)
    client.put_object(Bucket="lake", Key="adapters/in/written", Body=b"1")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket="lake", Key=BESIDE)
    with pytest.raises(ClientError, match="AccessDenied"):
        session(door.broker.storage("lake", "s3://lake/adapters/in")).client("s3").put_object(
            Bucket="lake", Key="adapters/in/more", Body=b"1"
        )


def test_boto3_upload_of_many_parts_outlives_its_first_keys(door: Door) -> None:
    client = session(door.lake).client("s3")
    upload = {"Bucket": "lake", "Key": "adapters/in/parts"}
    begun = client.create_multipart_upload(**upload)["UploadId"]
    parts: list[dict[str, Any]] = []

    def more() -> None:
        number = len(parts) + 1
        tag = client.upload_part(**upload, UploadId=begun, PartNumber=number, Body=bytes(1024))["ETag"]
        parts.append({"ETag": tag, "PartNumber": number})

    door.over_rotations(more)
    client.abort_multipart_upload(**upload, UploadId=begun)


def test_polars(door: Door) -> None:
    given: dict[str, Any] = {
        "credential_provider": credential_provider(door.lake),
        "storage_options": storage_options(door.lake),
    }
    door.over_rotations(lambda: pl.scan_parquet(f"s3://lake/{INSIDE}", **given).collect())
    assert pl.scan_parquet("s3://lake/adapters/in/*.parquet", **given).collect().height == 3
    pl.DataFrame({"id": [1]}).lazy().sink_parquet("s3://lake/adapters/in/polars", **given)
    with pytest.raises(OSError, match=r"(?i)denied|403|forbidden"):
        pl.scan_parquet(f"s3://lake/{BESIDE}", **given).collect()


def test_duckdb(door: Door) -> None:
    with connect("httpfs") as connection, secret(connection, door.lake):

        def read() -> None:
            assert len(connection.read_parquet(f"s3://lake/{INSIDE}").fetchall()) == 3

        door.over_rotations(read)
        connection.execute("COPY (SELECT 1 AS id) TO 's3://lake/adapters/in/duckdb' (FORMAT parquet)")
        # Beside the scope there is no secret, and so nothing is signed.
        with pytest.raises(duckdb.Error):
            connection.read_parquet(f"s3://lake/{BESIDE}").fetchall()
        # With a secret for more than its keys are for, it is the store that refuses.
        kind, words = settings_of(door.lake, door.lake.get())
        words["SCOPE"] = ["s3://lake/adapters/in2/"]
        told = ", ".join(f"{word} ${word}" for word in words)
        connection.execute(f"CREATE SECRET wider (TYPE {kind}, {told})", words)
        with pytest.raises(duckdb.Error, match="403"):
            connection.read_parquet(f"s3://lake/{BESIDE}").fetchall()


def test_who_holds_the_first_keys_is_refused(door: Door) -> None:
    """The same store to a client and a secret that nobody renews: so the others' keys were alive."""
    held = session(door.lake).get_credentials()
    assert held is not None
    keys = held.get_frozen_credentials()
    fixed = boto3.Session(keys.access_key, keys.secret_key, keys.token, region_name=REGION)
    client = fixed.client("s3", endpoint_url=storage_options(door.lake)["aws_endpoint_url"])
    assert client.get_object(Bucket="lake", Key=INSIDE)["ContentLength"] > 0
    with connect("httpfs") as connection:
        made = secret(connection, door.lake)
        made._stop()
        assert len(connection.read_parquet(f"s3://lake/{INSIDE}").fetchall()) == 3
        threading.Event().wait(SHORT_SESSION.total_seconds() + 0.5)
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            client.get_object(Bucket="lake", Key=INSIDE)
        with pytest.raises(duckdb.Error, match="403"):
            connection.read_parquet(f"s3://lake/{INSIDE}").fetchall()


def test_beyond_the_profile_nothing_is_issued(door: Door) -> None:
    with pytest.raises(AccessDenied):
        session(door.broker.storage("lake", "s3://lake/other")).client("s3")
    assert door.seen == []
