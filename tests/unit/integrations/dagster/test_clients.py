"""What an asset hands its clients, and what the issuer is sent for it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import polars as pl
import pytest
from tests.servers.duckdb_extensions import connect
from tests.servers.keyed_store import KeyedStore
from tests.servers.sts import Sts, Trust

from credbroker import Broker
from credbroker.integrations.dagster import CredentialBrokerResource
from credbroker.integrations.duckdb import secret
from credbroker.integrations.polars import credential_provider, storage_options

ROLE = "arn:aws:iam::123456789012:role/Pipe"


@pytest.fixture(autouse=True)
def _nothing_ambient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower() == "no_proxy":
            monkeypatch.delenv(name)


@pytest.fixture
def store() -> Iterator[KeyedStore]:
    with KeyedStore() as running:
        yield running


@pytest.fixture
def sts() -> Iterator[Sts]:
    with Sts() as running:
        running.host = urlsplit(running.uri).netloc
        running.roles[ROLE] = Trust({"arn:aws:iam::123456789012:user/pipe"})
        yield running


@pytest.fixture
def resource(store: KeyedStore, sts: Sts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Storage whose keys are a session of ``sts``, for ``store``."""
    key, hidden = sts.user("pipe")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", hidden)
    lake = {
        "endpoint": store.uri,
        "region": "eu-west-1",
        "path_style_access": True,
        "locations": ["s3://lake/sales/"],
        "credentials": {
            "mode": "iam_role",
            "role_arn": ROLE,
            "sts_endpoint": sts.uri,
            "credential_source": "environment",
            "session_run": True,
        },
    }
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps({"environment": "test", "principal": "svc", "storage": {"lake": lake}}))
    yield CredentialBrokerResource(config=str(path))
    Broker.shared(path).close()


def of_session(store: KeyedStore, sts: Sts) -> bool:
    """Whether all that the store was sent was signed with the one session of the role."""
    (given,) = (key for key in sts.identities if key.startswith("ASIA"))
    return set(store.key_ids) == {given} and {one.token for one in store.seen} == {sts.identities[given].token}


@pytest.mark.filterwarnings("ignore:the `credential_provider` parameter")  # Polars calls it unstable
def test_polars(resource: CredentialBrokerResource, instance: dg.DagsterInstance, store: KeyedStore, sts: Sts) -> None:
    file = io.BytesIO()
    pl.DataFrame({"id": [1, 2, 3]}).write_parquet(file)
    store.body = file.getvalue()

    @dg.asset
    def orders(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
        lake = broker.storage("lake", "s3://lake/sales")
        scan = pl.scan_parquet(
            "s3://lake/sales/f.parquet", credential_provider=credential_provider(lake), storage_options=storage_options(lake)
        )
        return dg.MaterializeResult(metadata={"rows": scan.collect().height})

    result = dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert result.asset_materializations_for_node("orders")[0].metadata["rows"].value == 3
    assert of_session(store, sts)


def test_duckdb(resource: CredentialBrokerResource, instance: dg.DagsterInstance, store: KeyedStore, sts: Sts) -> None:
    @dg.asset
    def orders(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
        connection = connect("httpfs")
        with connection, secret(connection, broker.storage("lake", "s3://lake/sales")):
            found = connection.read_csv("s3://lake/sales/f.csv").fetchall()
        return dg.MaterializeResult(metadata={"rows": len(found)})

    result = dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert result.asset_materializations_for_node("orders")[0].metadata["rows"].value == 1
    assert of_session(store, sts)


def test_actor_and_run_stand_in_the_sessions_name(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, sts: Sts
) -> None:
    @dg.asset
    def orders(broker: CredentialBrokerResource) -> None:
        value = broker.storage("lake").get()
        assert value.expires_at is not None
        assert value.expires_at > datetime.now(UTC)

    runs = [
        dg.materialize([orders], resources={"broker": resource}, instance=instance, tags={"user": user}).run_id
        for user in ("ana", "ben")
    ]
    names = [session.name for session in sts.sessions]
    assert [name[:16] for name in names] == [f"svc-{user}-{run[:8]}" for user, run in zip(("ana", "ben"), runs, strict=True)]
