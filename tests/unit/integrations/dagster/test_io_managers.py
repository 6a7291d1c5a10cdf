"""IO managers that load by strings. (Dagster takes a context's type from the annotation itself: no future import here.)"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.security.canary import assert_clean
from tests.unit.integrations.dagster.conftest import Records

from credbroker import Broker
from credbroker.errors import ConfigurationError
from credbroker.integrations.dagster import CredentialBrokerResource, WithBroker
from credbroker.integrations.dagster.lineage import Work

pytestmark = [
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning"),  # Dagster's own call
    pytest.mark.filterwarnings("ignore:Yielding metadata from an IOManager"),  # Dagster calls it a beta
]


class Plain(dg.IOManager):
    """Knows a platform file by a property and the broker by ``shared``, as a catalog that is loaded by strings does."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Any:
        Broker.shared(context.resource_config["config"]).storage("lake", access="write").get()

    def load_input(self, context: dg.InputContext) -> Any:
        return Broker.shared(context.resource_config["config"]).storage("lake").get() and 1


class Telling(Plain):
    """Yields what it is given to tell: materializations, or metadata as such."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[Any]:
        super().handle_output(context, obj)
        yield from obj


class Returning(Plain):
    def handle_output(self, context: dg.OutputContext, obj: Any) -> Any:
        super().handle_output(context, obj)
        return obj


class Failing(Plain):
    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[Any]:
        context.log_event(dg.AssetObservation("half"))
        yield dg.AssetMaterialization("half")
        raise RuntimeError("the disk is full")


class Early(Plain):
    """Asks when it is made."""

    def __init__(self, config: str) -> None:
        self._lake = Broker.shared(config).storage("lake", access="write")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Any:
        self._lake.get()


class Factory(dg.ConfigurableIOManagerFactory):
    config: str
    kind: str = "Plain"

    def create_io_manager(self, context: dg.InitResourceContext) -> dg.IOManager:
        kinds = {kind.__name__: kind for kind in (Plain, Telling, Returning, Failing)}
        return Early(self.config) if self.kind == "Early" else kinds[self.kind]()


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


def written(instance: dg.DagsterInstance, platform: Path, kind: str, value: Any) -> list[Any]:
    """The metadata of each materialization, of one asset that returns ``value``."""

    @dg.asset
    def orders() -> Any:
        return value

    broker = CredentialBrokerResource(config=str(platform))
    lake = LakeIOManager(broker=broker, config=str(platform), kind=kind)
    result = dg.materialize([orders], resources={"io_manager": lake}, instance=instance)
    return [event.materialization.metadata for event in result.get_asset_materialization_events()]


def rows(metadata: Any) -> list[tuple[str, str | None]]:
    """Profile and access of each row in the table of credentials."""
    return [(record.data["profile"], record.data["access"]) for record in metadata["credbroker/credentials"].records]


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
    (of_raw, _) = result.get_asset_materialization_events()
    assert rows(of_raw.materialization.metadata) == [("storage/lake", "write")]


def test_one_that_asks_when_it_is_made_asks_for_the_run(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    broker = CredentialBrokerResource(config=str(platform))
    lake = LakeIOManager(broker=broker, config=str(platform), kind="Early")
    resources = {"io_manager": lake}
    result = dg.materialize([raw], resources=resources, instance=instance, partition_key="mon", tags={"user": "ana"})
    assert {(one["actor"], one["run_id"]) for one in records()} == {("ana", result.run_id)}


# -- those that yield --------------------------------------------------------------------------------------------------


def test_each_part_is_done_for_the_step_and_what_lies_between_is_not(platform: Path) -> None:
    inside, between = [], []

    class Noting(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[Any]:  # type: ignore[override]
            for number in range(3):
                inside.append(Broker.shared(platform))
                yield {"part": number}

        def load_input(self, context: dg.InputContext) -> Any:
            raise NotImplementedError

    class Made(dg.ConfigurableIOManagerFactory):
        def create_io_manager(self, context: dg.InitResourceContext) -> dg.IOManager:
            return Noting()

    class Lake(WithBroker, Made): ...

    broker = CredentialBrokerResource(config=str(platform))
    broker._work = Work(run_id="the-run")
    io_manager = Lake(broker=broker).create_io_manager(dg.build_init_resource_context())
    with dg.build_output_context() as context:
        between.extend(Broker.shared(platform) for _ in io_manager.handle_output(context, 1))  # type: ignore[attr-defined]
    assert [view._run_id for view in inside] == ["the-run"] * 3
    assert [view._run_id for view in between] == [None] * 3


def test_what_was_told_before_a_failure_is_not_lost(platform: Path, instance: dg.DagsterInstance) -> None:
    broker = CredentialBrokerResource(config=str(platform))
    lake = LakeIOManager(broker=broker, config=str(platform), kind="Failing")
    resources = {"io_manager": lake}
    result = dg.materialize([raw], resources=resources, instance=instance, partition_key="mon", raise_on_error=False)
    assert not result.success
    assert [event.asset_key for event in result.all_events if event.is_asset_observation] == [dg.AssetKey("half")]


def test_a_materialization_with_metadata_of_its_own_is_left_as_it_is(platform: Path, instance: dg.DagsterInstance) -> None:
    told, _ = written(instance, platform, "Telling", [dg.AssetMaterialization("orders", metadata={"rows": 1})])
    assert told == {"rows": dg.IntMetadataValue(1)}


def test_one_without_is_told_the_brokers(platform: Path, instance: dg.DagsterInstance) -> None:
    told = written(instance, platform, "Telling", [dg.AssetMaterialization("files")])
    assert [rows(metadata) for metadata in told] == [[("storage/lake", "write")]] * 2


@pytest.mark.parametrize(
    ("kind", "value"), [("Telling", [{"rows": 1}, {"files": 2}]), ("Returning", {"rows": 1, "files": 2})]
)
def test_metadata_as_such_stands_beside_the_brokers(
    kind: str, value: Any, platform: Path, instance: dg.DagsterInstance
) -> None:
    (told,) = written(instance, platform, kind, value)
    assert (told["rows"].value, told["files"].value) == (1, 2)
    assert rows(told) == [("storage/lake", "write")]


@pytest.mark.parametrize("value", [[], [{}]])
def test_one_that_tells_nothing(value: Any, platform: Path, instance: dg.DagsterInstance) -> None:
    (told,) = written(instance, platform, "Telling", value)
    assert rows(told) == [("storage/lake", "write")]


# -- beside what others tell -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_context", [False, True])
def test_what_the_asset_itself_told_is_told_too(by_context: bool, platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.multi_asset(outs={"orders": dg.AssetOut(), "lines": dg.AssetOut()})  # the step is for both, an output for one
    def both(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> Any:
        broker.catalog("production").get()
        broker.storage("lake", access="write").get()  # and the IO manager asks for the same
        if by_context:
            context.add_output_metadata(broker.metadata(), output_name="orders")
        yield dg.Output(1, "orders", metadata={} if by_context else broker.metadata())
        yield dg.Output(1, "lines")

    broker = CredentialBrokerResource(config=str(platform))
    resources = {"broker": broker, "io_manager": LakeIOManager(broker=broker, config=str(platform))}
    result = dg.materialize([both], resources=resources, instance=instance)
    of_orders, of_lines = (event.materialization.metadata for event in result.get_asset_materialization_events())
    assert rows(of_orders) == [("catalogs/production", None), ("storage/lake", "write")]
    assert of_orders["credbroker/issues"] == dg.IntMetadataValue(2)
    assert rows(of_lines) == [("storage/lake", "write")]


def test_one_that_tells_the_brokers_itself(platform: Path, instance: dg.DagsterInstance) -> None:
    class Own(dg.ConfigurableIOManager):
        broker: CredentialBrokerResource

        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            self.broker.view(context).catalog("production").get()
            context.add_output_metadata(self.broker.metadata(context))

        def load_input(self, context: dg.InputContext) -> Any:
            raise NotImplementedError

    class Lake(WithBroker, Own): ...

    broker = CredentialBrokerResource(config=str(platform))
    resources = {"io_manager": Lake(broker=broker)}
    result = dg.materialize([raw], resources=resources, instance=instance, partition_key="mon")
    (event,) = result.get_asset_materialization_events()
    assert rows(event.materialization.metadata) == [("catalogs/production", None)]


def test_without_it_the_values_are_the_same_and_nobody_is_named(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    run(instance, Factory(config=str(platform)))
    assert [one["access"] for one in records("issued")] == ["write", "read"]
    assert all(one.keys().isdisjoint({"run_id", "job", "assets", "actor"}) for one in records())


def test_another_file_than_the_brokers_is_refused(
    platform: Path, tmp_path: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(platform.read_text())
    with pytest.raises(ConfigurationError, match=r"other\.yaml is not the configuration .*platform\.yaml"):
        run(instance, LakeIOManager(broker=CredentialBrokerResource(config=str(platform)), config=str(other)))
    assert records() == []


@pytest.mark.parametrize("config", [{"config": "/etc/hosts"}, {"kind": "Telling"}, {"config": {"env": "LAKE_KEYS"}}])
def test_who_launches_a_run_may_not_change_it(
    config: dict[str, Any], platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    lake = LakeIOManager(broker=CredentialBrokerResource(config=str(platform)), config=str(platform), kind="Plain")
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize(
            [raw],
            resources={"io_manager": lake},
            run_config={"resources": {"io_manager": {"config": {"config": str(platform), **config}}}},
            instance=instance,
            partition_key="mon",
        )
    assert str(caught.value.__cause__).startswith(f"the run's config changes {next(iter(config))} of LakeIOManager")
    assert_clean(str(caught.value.__cause__))
    assert records() == []
