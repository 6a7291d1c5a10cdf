from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from tests.security.canary import assert_clean

from credbroker import Broker
from credbroker.errors import ConfigurationError
from credbroker.integrations.dagster import CredentialBrokerResource, can_issue

if TYPE_CHECKING:
    from tests.unit.integrations.dagster.conftest import Records

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
        resources={"broker": CredentialBrokerResource(config=str(platform), profiles=[])},
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


def test_a_value_that_is_held_counts(
    platform: Path, instance: dg.DagsterInstance, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    Broker.shared(platform).storage("lake").get()
    monkeypatch.delenv("LAKE_KEYS")
    (found,) = evaluated(platform, instance, can_issue(staged, "storage/lake"))
    assert found.passed
    assert len(records("requested")) == 1


def test_one_without_profiles_is_refused_where_it_is_written() -> None:
    with pytest.raises(ConfigurationError, match="checks nothing without a profile"):
        can_issue(staged)


@pytest.mark.parametrize("name", ["lake", "catalog/production", "storage/"])
def test_so_is_a_name_without_a_section(name: str) -> None:
    with pytest.raises(ConfigurationError, match="storage/lake, catalogs/production, compute/reporting"):
        can_issue(staged, "storage/lake", name)


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


@pytest.mark.parametrize("selected", [True, False])
def test_on_an_external_asset_it_blocks_where_it_is_selected(
    selected: bool, platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_KEYS")

    @dg.asset(deps=["shop"])
    def orders() -> None:
        made.append("orders")

    check = can_issue("shop", "storage/lake")
    assets = dg.AssetSelection.assets(orders)
    definitions = dg.Definitions(
        assets=[dg.AssetSpec("shop"), orders],
        asset_checks=[check],
        jobs=[dg.define_asset_job("guarded", assets | dg.AssetSelection.checks(check) if selected else assets)],
        resources={"broker": CredentialBrokerResource(config=str(platform), profiles=[])},
    )
    definitions.resolve_job_def("guarded").execute_in_process(instance=instance, raise_on_error=False)
    assert made == ([] if selected else ["orders"])
