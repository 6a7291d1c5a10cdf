"""Who asks. (Dagster takes a context's type from the annotation itself: no future import here.)"""

import asyncio
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.unit.integrations.dagster.conftest import Records

from credbroker.integrations.dagster import CredentialBrokerResource, can_issue
from credbroker.integrations.dagster.lineage import _partition

DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])


@pytest.fixture
def resource(platform: Path) -> CredentialBrokerResource:
    return CredentialBrokerResource(config=str(platform))


@pytest.fixture
def asked(records: Records) -> Any:
    """What each record of a request says of who asked."""

    def so_far() -> list[Any]:
        return [(found.get("assets"), found.get("partition")) for found in records("requested")]

    return so_far


def test_the_record_of_an_issue_names_run_job_asset_and_partition(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset(partitions_def=DAYS, key_prefix="staged")
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    job = dg.define_asset_job("nightly", [orders])
    definitions = dg.Definitions(assets=[orders], jobs=[job], resources={"broker": resource})
    found = definitions.resolve_job_def("nightly")
    result = found.execute_in_process(partition_key="tue", tags={"user": "ana@example.com"}, instance=instance)
    assert [record["event"] for record in records()] == ["requested", "issued"]
    for record in records():
        assert record["principal"] == "data-platform-svc"
        assert record["actor"] == "ana@example.com"
        assert record["run_id"] == result.run_id
        assert record["job"] == "nightly"
        assert record["assets"] == ["staged/orders"]
        assert record["partition"] == "tue"
        assert record["parent"] == {
            "run": {"runId": result.run_id},
            "job": {"namespace": "dagster", "name": "nightly"},
        }


def test_assets_of_one_run_share_a_value_and_the_first_is_on_record(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    def asset(name: str, *deps: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=list(deps))
        def made(broker: CredentialBrokerResource) -> None:
            broker.storage("lake").get()

        return made

    dg.materialize([asset("raw"), asset("mart", "raw")], resources={"broker": resource}, instance=instance)
    assert asked() == [(["raw"], None)]


def test_two_actors_share_no_value(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    for user in ("ana", "ben", "ana"):
        dg.materialize([orders], resources={"broker": resource}, instance=instance, tags={"user": user})
    assert [record["actor"] for record in records("issued")] == ["ana", "ben"]


def test_the_tag_and_the_namespace_are_the_deployments_to_name(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    resource = CredentialBrokerResource(config=str(platform), actor_tag="team", namespace="lakehouse")
    dg.materialize([orders], resources={"broker": resource}, instance=instance, tags={"team": "sales", "user": "ana"})
    (record,) = records("issued")
    assert record["actor"] == "sales"
    assert record["parent"]["job"]["namespace"] == "lakehouse"


MULTI = dg.MultiPartitionsDefinition({"day": DAYS, "shop": dg.StaticPartitionsDefinition(["1", "2"])})
DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-20")


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")  # Dagster calls it a beta
@pytest.mark.parametrize(
    ("partitions", "start", "end", "told"),
    [
        (DAYS, "mon", "wed", "mon, tue, wed"),
        (DAYS, "tue", "tue", "tue"),
        (DAILY, "2026-01-02", "2026-01-04", "2026-01-02...2026-01-04"),
        (DAILY, "2026-01-02", "2026-01-02", "2026-01-02"),
        (MULTI, "mon|1", "tue|2", "mon|1, mon|2, tue|1, tue|2"),
        (
            dg.StaticPartitionsDefinition([f"{number:02}" for number in range(12)]),
            "00",
            "11",
            "00, 01, 02, 03, 04, 05, 06, 07, 08, 09 and 2 more",
        ),
    ],
)
def test_several_partitions_in_one_run(
    partitions: Any, start: str, end: str, told: str, *, resource: CredentialBrokerResource, instance: Any, asked: Any
) -> None:
    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
    dg.materialize([orders], resources={"broker": resource}, instance=instance, tags=tags)
    assert asked() == [(["orders"], told)]


def test_a_partition_of_two_dimensions_is_a_plain_text(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    kinds = []

    @dg.asset(partitions_def=MULTI)
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()
        lineage = broker.broker._lineage
        assert lineage is not None
        kinds.append(type(lineage.partition))

    key = dg.MultiPartitionKey({"day": "mon", "shop": "2"})
    dg.materialize([orders], resources={"broker": resource}, instance=instance, partition_key=key)
    assert asked() == [(["orders"], "mon|2")]
    assert kinds == [str]


def test_an_asset_without_partitions_in_a_run_with_one(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.asset(partitions_def=DAYS)
    def orders(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    @dg.asset(deps=[orders])
    def total(broker: CredentialBrokerResource) -> None:
        broker.catalog("production").get()

    dg.materialize([orders, total], resources={"broker": resource}, instance=instance, partition_key="mon")
    assert asked() == [(["orders"], "mon"), (["total"], None)]


def test_of_an_asset_with_several_keys_those_that_are_made(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec(name, skippable=True) for name in ("a", "b", "c")], can_subset=True)
    def several(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> Any:
        broker.storage("lake").get()
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)

    dg.materialize([several], resources={"broker": resource}, instance=instance, selection=["a", "c"])
    assert asked() == [(["a", "c"], None)]


def test_a_check_asks_for_its_asset(resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any) -> None:
    @dg.asset
    def orders() -> None:
        """Asks for nothing."""

    @dg.asset_check(asset=orders)
    def complete(broker: CredentialBrokerResource) -> dg.AssetCheckResult:
        broker.storage("lake").get()
        return dg.AssetCheckResult(passed=True)

    check = can_issue(orders, "catalogs/production")
    dg.materialize([orders, complete, check], resources={"broker": resource}, instance=instance)
    assert asked() == [(["orders"], None)] * 2


def test_an_op_of_a_plain_job_has_only_its_job(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.op
    def copying(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    @dg.job(resource_defs={"broker": resource})
    def plain() -> None:
        copying()

    plain.execute_in_process(instance=instance)
    (record,) = records("issued")
    assert record["job"] == "plain"
    assert "assets" not in record


def test_an_op_of_an_asset_that_is_a_graph(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.op
    def copying(broker: CredentialBrokerResource) -> int:
        broker.storage("lake").get()
        return 1

    @dg.graph_asset
    def orders() -> Any:
        return copying()

    dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert asked() == [(["orders"], None)]


class LakeIOManager(dg.ConfigurableIOManager):
    """As a user's own: the broker's view is asked for with the context that Dagster hands over."""

    broker: CredentialBrokerResource

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.broker.view(context).storage("lake", access="write").get()
        context.add_output_metadata(self.broker.metadata(context))

    def load_input(self, context: dg.InputContext) -> Any:
        folder = f"s3://lake/sales/{context.asset_key.path[-1]}/"
        return self.broker.view(context).storage("lake", folder).get() and 1


class InnerIOManager(dg.ConfigurableIOManager):
    """Asks afresh for each output and input of an op."""

    broker: CredentialBrokerResource

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.broker.view(context).storage("lake", access="write").get()
        self.broker.broker.purge("lake")

    def load_input(self, context: dg.InputContext) -> Any:
        self.broker.view(context).storage("lake").get()
        self.broker.broker.purge("lake")
        return 1


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # Dagster's own call
def test_an_io_manager_asks_for_what_it_reads_and_writes(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset(partitions_def=DAYS)
    def raw() -> int:
        return 1

    @dg.asset(partitions_def=DAYS)
    def mart(raw: int) -> int:
        return raw

    resources = {"broker": resource, "io_manager": LakeIOManager(broker=resource)}
    result = dg.materialize([raw, mart], resources=resources, instance=instance, partition_key="mon")
    assert [(found["access"], found["assets"], found["partition"]) for found in records("requested")] == [
        ("write", ["raw"], "mon"),
        ("read", ["raw"], "mon"),
    ]
    assert {found["run_id"] for found in records()} == {result.run_id}
    (written, _) = result.get_asset_materialization_events()
    table = written.materialization.metadata["credbroker/credentials"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["access"] for record in table.records] == ["write"]


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # Dagster's own call
@pytest.mark.parametrize(
    ("partitions", "mapping", "told"),
    [
        (DAILY, dg.AllPartitionMapping(), "2026-01-01...2026-01-19"),
        (DAILY, dg.SpecificPartitionsPartitionMapping(["2026-01-03", "2026-01-01"]), "2026-01-01, 2026-01-03"),
        (DAYS, dg.AllPartitionMapping(), "mon, tue, wed"),
        (DAYS, dg.SpecificPartitionsPartitionMapping(["wed", "mon"]), "mon, wed"),
        (MULTI, dg.AllPartitionMapping(), "mon|1, mon|2, tue|1, tue|2, wed|1, wed|2"),
        (dg.DynamicPartitionsDefinition(name="none_yet"), dg.AllPartitionMapping(), None),
    ],
)
def test_the_partitions_of_what_is_read(
    partitions: Any, mapping: Any, told: str | None, *, resource: CredentialBrokerResource, instance: Any, asked: Any
) -> None:
    @dg.asset(partitions_def=partitions)
    def raw() -> int:
        return 1

    @dg.asset(ins={"raw": dg.AssetIn(partition_mapping=mapping)})
    def total(raw: int) -> None:
        """Reads them."""

    resources = {"broker": resource, "io_manager": LakeIOManager(broker=resource)}
    dg.materialize([raw.to_source_asset(), total], resources=resources, instance=instance)
    assert asked()[0] == (["raw"], told)


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # Dagster's own call
def test_what_goes_from_op_to_op_is_of_the_step(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.op
    def reading() -> int:
        return 1

    @dg.op
    def copying(x: int) -> int:
        return x

    @dg.graph_asset(partitions_def=DAYS)
    def orders() -> Any:
        return copying(reading())

    lake = InnerIOManager(broker=resource)
    dg.materialize([orders], resources={"io_manager": lake}, instance=instance, partition_key="tue")

    @dg.job(resource_defs={"io_manager": lake}, partitions_def=DAYS)
    def plain() -> None:
        copying(reading())

    plain.execute_in_process(instance=instance, partition_key="mon")
    of_the_asset, of_the_job = (["orders"], "tue"), (None, "mon")
    assert asked() == [of_the_asset] * 3 + [of_the_job] * 3


def test_a_thread_of_an_asset_hands_the_context_over(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.asset
    def orders(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> None:
        def work() -> None:
            broker.storage("lake").get()
            broker.view(context).catalog("production").get()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert asked() == [(None, None), (["orders"], None)]


def test_a_coroutine_asks_for_its_asset(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.asset
    async def orders(broker: CredentialBrokerResource) -> None:
        await asyncio.gather(*(broker.storage("lake").aget() for _ in range(5)))

    dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert asked() == [(["orders"], None)]


@pytest.mark.filterwarnings("ignore:Function `observable_source_asset`")  # Dagster calls it a beta
@pytest.mark.filterwarnings("ignore:Property `OpDefinition.version`:DeprecationWarning")  # Dagster's own call
def test_an_observation_asks_for_what_it_observes(
    resource: CredentialBrokerResource, instance: dg.DagsterInstance, asked: Any
) -> None:
    @dg.observable_source_asset
    def inbox(broker: CredentialBrokerResource) -> dg.DataVersion:
        return dg.DataVersion(broker.storage("lake").get().fingerprint)

    job = dg.define_asset_job("observing", [inbox])
    definitions = dg.Definitions(assets=[inbox], jobs=[job], resources={"broker": resource})
    definitions.resolve_job_def("observing").execute_in_process(instance=instance)
    assert asked() == [(["inbox"], None)]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (["2026-01-04", "2026-01-02", "2026-01-03"], "2026-01-02...2026-01-04"),
        (["2026-01-04", "2026-01-02"], "2026-01-02, 2026-01-04"),
        (["2026-01-02"], "2026-01-02"),
        (["2025-12-30", "2026-01-02"], "2025-12-30, 2026-01-02"),
        (["2026-01-02", "no date"], "2026-01-02, no date"),
    ],
)
def test_keys_of_windows_come_in_any_order_and_may_be_none_of_the_definitions(keys: list[str], told: str) -> None:
    assert _partition(keys, DAILY) == told
