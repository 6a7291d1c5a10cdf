from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.security.canary import assert_clean

from credbroker.integrations.dagster import CredentialBrokerResource, can_issue

made: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    made.clear()


@dg.asset
def staged() -> None:
    made.append("staged")


@dg.asset(deps=[staged])
def mart() -> None:
    made.append("mart")


def evaluated(platform: Path, instance: dg.DagsterInstance, *checks: Any) -> list[dg.AssetCheckEvaluation]:
    result = dg.materialize(
        [staged, mart, *checks],
        resources={"broker": CredentialBrokerResource(config=str(platform))},
        instance=instance,
        raise_on_error=False,
    )
    return result.get_asset_check_evaluations()


def test_it_passes_where_credentials_can_be_had(platform: Path, instance: dg.DagsterInstance) -> None:
    (found,) = evaluated(platform, instance, can_issue(staged, "storage/lake", "catalogs/production"))
    assert found.passed
    assert found.check_name == "can_issue"
    table = found.metadata["credbroker/credentials"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["profile"] for record in table.records] == ["catalogs/production", "storage/lake"]
    assert made == ["staged", "mart"]


def test_what_cannot_be_had_stops_the_long_job_and_says_why(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_KEYS")
    (found,) = evaluated(platform, instance, can_issue(staged, "catalogs/production", "storage/lake"))
    assert not found.passed
    assert found.blocking
    assert "LAKE_KEYS" in str(found.description)
    assert found.metadata["credbroker/error"].value == "SecretNotFound"
    assert_clean(repr(found))
    assert made == ["staged"]


def test_one_that_does_not_block(platform: Path, instance: dg.DagsterInstance) -> None:
    (found,) = evaluated(platform, instance, can_issue(staged, "storage/absent", name="keys", blocking=False))
    assert (found.check_name, found.passed) == ("keys", False)
    assert made == ["staged", "mart"]


def test_the_resource_may_have_another_key(platform: Path, instance: dg.DagsterInstance) -> None:
    resource = CredentialBrokerResource(config=str(platform))
    check = can_issue(staged, "storage/lake", resource_key="credentials")
    result = dg.materialize([staged, check], resources={"credentials": resource}, instance=instance)
    assert [found.passed for found in result.get_asset_check_evaluations()] == [True]


def test_it_runs_alone_before_anything_is_made(platform: Path, instance: dg.DagsterInstance) -> None:
    check = can_issue(staged, "storage/lake")
    job = dg.define_asset_job("before", selection=dg.AssetSelection.checks(check))
    definitions = dg.Definitions(
        assets=[staged],
        asset_checks=[check],
        jobs=[job],
        resources={"broker": CredentialBrokerResource(config=str(platform))},
    )
    result = definitions.resolve_job_def("before").execute_in_process(instance=instance)
    assert [found.passed for found in result.get_asset_check_evaluations()] == [True]
    assert made == []
