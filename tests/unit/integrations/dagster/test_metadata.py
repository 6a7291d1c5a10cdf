from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from tests.security.canary import assert_clean

from credbroker.integrations.dagster import CredentialBrokerResource


def told_of(platform: Path, instance: dg.DagsterInstance, *assets: Any) -> list[tuple[list[Any], int]]:
    """The table and the number of issues, of each materialization."""
    resource = CredentialBrokerResource(config=str(platform))
    result = dg.materialize(assets, resources={"broker": resource}, instance=instance)
    told = []
    for event in result.get_asset_materialization_events():
        assert_clean(repr(event))
        metadata = event.materialization.metadata
        table, issues = metadata["credbroker/credentials"], metadata["credbroker/issues"]
        assert isinstance(table, dg.TableMetadataValue)
        assert isinstance(issues, dg.IntMetadataValue)
        told.append(([record.data for record in table.records], issues.value or 0))
    return told


@dg.asset
def raw(broker: CredentialBrokerResource) -> dg.MaterializeResult[None]:
    broker.storage("lake", access="read_write").get()
    broker.catalog("production").get()
    return dg.MaterializeResult(metadata=broker.metadata())


@dg.asset(deps=[raw])
def mart(broker: CredentialBrokerResource) -> dg.MaterializeResult[None]:
    broker.storage("lake", access="read_write").get()
    broker.storage("lake", "s3://lake/sales/mart/")  # asked for, and never got
    return dg.MaterializeResult(metadata=broker.metadata())


def test_a_materialization_tells_scope_end_fingerprint_and_issues(platform: Path, instance: dg.DagsterInstance) -> None:
    (of_raw, issues), (of_mart, issues_later) = told_of(platform, instance, raw, mart)
    assert [(row["profile"], row["kind"], row["access"], row["scope"], row["expires_at"]) for row in of_raw] == [
        ("catalogs/production", "token", None, None, None),
        ("storage/lake", "storage", "read_write", "s3://lake/sales/", None),
    ]
    assert all(len(row["fingerprint"]) == 16 for row in of_raw)
    assert of_mart == of_raw[1:]  # what this asset got, of what the run holds
    assert (issues, issues_later) == (2, 2)


def test_the_issues_of_another_run_are_not_counted(platform: Path, instance: dg.DagsterInstance) -> None:
    assert [issues for _, issues in told_of(platform, instance, raw)] == [2]
    assert [issues for _, issues in told_of(platform, instance, raw)] == [0]


def test_an_asset_that_asked_for_nothing(platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def idle(broker: CredentialBrokerResource) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=broker.metadata())

    assert told_of(platform, instance, idle) == [([], 0)]
