"""IO managers that load by strings. (Dagster takes a context's type from the annotation itself: no future import here.)"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.unit.integrations.dagster.conftest import Records

from credbroker import Broker
from credbroker.integrations.dagster import CredentialBrokerResource, WithBroker

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # Dagster's own call


class Plain(dg.IOManager):
    """Knows a platform file by a property and the broker by ``shared``, as a catalog that is loaded by strings does."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        Broker.shared(context.resource_config["config"]).storage("lake", access="write").get()

    def load_input(self, context: dg.InputContext) -> Any:
        return Broker.shared(context.resource_config["config"]).storage("lake").get() and 1


class Yielding(Plain):
    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[Any]:  # type: ignore[override]
        super().handle_output(context, obj)
        yield dg.AssetMaterialization(context.asset_key, metadata={"rows": 1})


class Factory(dg.ConfigurableIOManagerFactory):
    config: str
    yields: bool = False

    def create_io_manager(self, context: dg.InitResourceContext) -> dg.IOManager:
        return Yielding() if self.yields else Plain()


class LakeIOManager(WithBroker, Factory): ...


class Itself(dg.ConfigurableIOManager):
    config: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        Broker.shared(self.config).storage("lake", access="write").get()

    def load_input(self, context: dg.InputContext) -> Any:
        return Broker.shared(self.config).storage("lake").get() and 1


class LakeItself(WithBroker, Itself): ...


DAYS = dg.StaticPartitionsDefinition(["mon", "tue"])


@dg.asset(partitions_def=DAYS)
def raw() -> int:
    return 1


@dg.asset(partitions_def=DAYS)
def mart(raw: int) -> int:
    return raw


def run(instance: dg.DagsterInstance, io_manager: Any) -> dg.ExecuteInProcessResult:
    resources = {"io_manager": io_manager}
    return dg.materialize([raw, mart], resources=resources, instance=instance, partition_key="mon", tags={"user": "ana"})


@pytest.mark.parametrize("kind", [LakeIOManager, LakeItself])
def test_what_is_loaded_by_strings_asks_for_its_step(
    kind: Any, platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    broker = CredentialBrokerResource(config=str(platform))
    result = run(instance, kind(broker=broker, config=str(platform)))
    assert [(one["access"], one["assets"], one["partition"], one["actor"]) for one in records("requested")] == [
        ("write", ["raw"], "mon", "ana"),
        ("read", ["raw"], "mon", "ana"),
    ]
    assert {one["run_id"] for one in records()} == {result.run_id}
    (written, _) = result.get_asset_materialization_events()
    table = written.materialization.metadata["credbroker/credentials"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["access"] for record in table.records] == ["write"]


def test_one_that_tells_of_what_it_wrote_itself(platform: Path, instance: dg.DagsterInstance) -> None:
    broker = CredentialBrokerResource(config=str(platform))
    result = run(instance, LakeIOManager(broker=broker, config=str(platform), yields=True))
    metadata = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    assert {"rows": dg.IntMetadataValue(1)} in metadata


def test_without_it_the_values_are_the_same_and_nobody_is_named(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    run(instance, Factory(config=str(platform)))
    assert [one["access"] for one in records("issued")] == ["write", "read"]
    assert all(one.keys().isdisjoint({"run_id", "job", "assets", "actor"}) for one in records())


def test_another_file_than_the_brokers_is_another_broker(
    platform: Path, tmp_path: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(platform.read_text())
    run(instance, LakeIOManager(broker=CredentialBrokerResource(config=str(platform)), config=str(other)))
    assert all("run_id" not in one for one in records())
    Broker.shared(other).close()
