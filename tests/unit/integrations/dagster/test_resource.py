"""The resource in runs of Dagster's. (Dagster takes a context's type from the annotation itself: no future import here.)"""

import logging
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.security.canary import assert_clean
from tests.servers.hostile import HostileServer, answer
from tests.unit.integrations.dagster.conftest import PLATFORM, Records

from credbroker import AccessToken, Broker, DatabaseCredentials, S3Credentials
from credbroker.errors import AccessDenied, BrokerClosed, ConfigurationError
from credbroker.integrations.dagster import CredentialBrokerResource

seen: list[Any] = []
"""What the assets of a test hand to it."""


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@dg.asset
def orders(broker: CredentialBrokerResource) -> None:
    seen.append(broker)


def run(platform: Path | str, instance: dg.DagsterInstance, *assets: Any, **settings: Any) -> dg.ExecuteInProcessResult:
    resource = CredentialBrokerResource(config=str(platform), **settings)
    return dg.materialize(assets or [orders], resources={"broker": resource}, instance=instance)


def refused(platform: Path | str, instance: dg.DagsterInstance, *assets: Any, **settings: Any) -> BaseException:
    """What a run ends with that fails before any asset has run."""
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        run(platform, instance, *assets, **settings)
    assert seen == []
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


# -- the words ---------------------------------------------------------------------------------------------------------


def test_the_brokers_words_work_in_an_asset(platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def everything(broker: CredentialBrokerResource) -> None:
        seen.append(broker.catalog("production").get())
        seen.append(broker.storage("lake", "s3://lake/sales/2026/", access="read_write").get())
        seen.append(broker.compute("reporting").get())
        seen.append(broker.table("production", "sales.orders").request.table)

    run(platform, instance, everything)
    token, keys, login, table = seen
    assert isinstance(token, AccessToken)
    assert isinstance(keys, S3Credentials)
    assert isinstance(login, DatabaseCredentials)
    assert table == ("sales", "orders")


def test_a_catalog_is_loaded_by_its_profile(
    platform: Path, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HISTORY_URI", f"sqlite:///{tmp_path}/history.db")

    @dg.asset
    def history(broker: CredentialBrokerResource) -> None:
        catalog = broker.load_catalog("history", access="read_write")
        catalog.create_namespace("sales")
        seen.extend(catalog.list_namespaces())

    run(platform, instance, history)
    assert seen == [("sales",)]


def test_the_limits_of_a_profile_hold(platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def beyond(broker: CredentialBrokerResource) -> None:
        with pytest.raises(AccessDenied):
            broker.storage("lake", "s3://lake/finance/")
        seen.append(True)

    run(platform, instance, beyond)
    assert seen == [True]


# -- where the platform file is ----------------------------------------------------------------------------------------


def test_several_files_are_merged_in_their_order(platform: Path, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    (tmp_path / "more.yaml").write_text("storage: {lake: {region: eu-central-1}}\n")
    both = f"{platform}{os.pathsep}{tmp_path / 'more.yaml'}"
    run(both, instance)
    assert seen[0].broker.profile("storage", "lake").region == "eu-central-1"
    seen[0].broker.close()


@pytest.mark.parametrize("given", [{}, {"config": ""}, {"config": dg.EnvVar("PLATFORM_FILES")}])
def test_the_environment_says_where_it_is(
    given: dict[str, Any], platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_FILES" if given.get("config") else "CREDBROKER_CONFIG", str(platform))
    resource = CredentialBrokerResource(**given)
    dg.materialize([orders], resources={"broker": resource}, instance=instance)
    assert seen[0].broker.paths == (str(platform),)
    assert resource.broker.paths == (str(platform),)  # and outside of a run


# -- what is wrong is told when a run starts ---------------------------------------------------------------------------


def test_a_missing_platform_file_ends_the_run_before_any_asset(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    error = refused(tmp_path / "absent.yaml", instance)
    assert type(error).__name__ == "ConfigurationError"
    assert "absent.yaml" in str(error)


def test_no_platform_file_at_all_names_the_variable(instance: dg.DagsterInstance) -> None:
    assert "$CREDBROKER_CONFIG is not set" in str(refused("", instance))


def test_every_fault_of_the_file_is_told_at_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bad = PLATFORM.replace("access: write", "access: everything").replace("mode: static", "mode: []", 1)
    (tmp_path / "bad.yaml").write_text(bad)
    error = str(refused(tmp_path / "bad.yaml", instance))
    assert "bad.yaml" in error
    assert "access" in error
    assert "mode" in error


def test_a_missing_secret_of_a_profile_that_is_tried(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_KEYS")
    error = refused(platform, instance, profiles=["catalogs/production", "storage/lake"])
    assert type(error).__name__ == "SecretNotFound"
    assert "environment variable 'LAKE_KEYS'" in str(error)
    assert "/var/run/secrets/lake-keys" in str(error)
    assert "does not need that profile" not in str(error)  # it was listed


def test_a_missing_secret_of_any_profile_where_none_are_listed(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_KEYS")
    error = refused(platform, instance)
    assert type(error).__name__ == "SecretNotFound"
    assert "platform.yaml" in str(error)
    assert "storage.lake.credentials.secret_ref" in str(error)
    assert "environment variable 'LAKE_KEYS'" in str(error)
    assert "list those that it does in the resource's 'profiles'" in str(error)


@pytest.mark.parametrize("profiles", [["catalogs/production"], []])
def test_those_that_are_listed_are_the_ones_that_are_tried(
    profiles: list[str], platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, records: Records
) -> None:
    monkeypatch.delenv("LAKE_KEYS")
    assert run(platform, instance, profiles=profiles).success
    assert [f"{one['kind']}s/{one['profile']}" for one in records("issued")] == profiles


def test_what_is_not_listed_is_not_issued_for(platform: Path, instance: dg.DagsterInstance, records: Records) -> None:
    assert run(platform, instance).success
    assert records() == []


def test_an_unknown_profile_says_where_the_name_exists(platform: Path, instance: dg.DagsterInstance) -> None:
    assert "it exists under storage" in str(refused(platform, instance, profiles=["catalogs/lake"]))


def test_the_run_tells_the_remedy_in_its_events(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    resource = CredentialBrokerResource(config=str(tmp_path / "absent.yaml"))
    result = dg.materialize([orders], resources={"broker": resource}, instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type_value == "RESOURCE_INIT_FAILURE"]
    error = failure.engine_event_data.error
    assert error is not None
    assert error.cls_name == "ConfigurationError"
    assert "absent.yaml" in error.message


def test_what_is_tried_is_held_for_the_assets(platform: Path, instance: dg.DagsterInstance, records: Records) -> None:
    @dg.asset
    def reading(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    run(platform, instance, reading, profiles=["storage/lake"])
    assert len(records("issued")) == 1


def test_an_issuer_that_may_answer_later_leaves_it_to_the_assets_own_retries(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "canary-of-the-client"
    monkeypatch.setenv("CLIENT_SECRET", secret)
    answers = [answer(b"{}", status="503 Service Unavailable"), answer(b'{"access_token":"t","expires_in":3600}')]

    def script(server: HostileServer) -> Iterator[bytes]:
        yield answers.pop(0)

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def reading(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> None:
        if context.retry_number:
            broker.broker.purge("rest")  # so that the broker asks at once, and not at its own pace
        seen.append(broker.catalog("rest").get())

    with HostileServer(script) as issuer:
        (tmp_path / "platform.yaml").write_text(f"""
            environment: local
            catalogs:
              rest:
                uri: {issuer.url}
                credentials:
                  {{mode: oauth2, token_url: "{issuer.url}", client_id: me, client_secret: {{secret_ref: client-secret}}}}
        """)
        result = run(tmp_path / "platform.yaml", instance, reading, profiles=["catalogs/rest"])
    Broker.shared(tmp_path / "platform.yaml").close()
    assert result.success
    assert [event.step_key for event in result.all_events if event.is_step_up_for_retry] == ["reading"]
    assert len(issuer.requests) == 2
    log = [entry for entry in instance.all_logs(result.run_id) if entry.level == logging.WARNING]
    assert ["catalogs/rest could not be issued for at the start" in entry.user_message for entry in log] == [True]
    assert "503" in log[0].user_message
    assert secret not in log[0].user_message


# -- one broker a process ----------------------------------------------------------------------------------------------


class Reader(dg.ConfigurableResource):
    broker: CredentialBrokerResource

    def read(self) -> Any:
        return self.broker.storage("lake").get()


class Writer(dg.ConfigurableResource):
    broker: dg.ResourceDependency[CredentialBrokerResource]

    def write(self) -> Any:
        return self.broker.storage("lake", access="read").get()


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # Dagster's own call
def test_nested_resources_share_the_broker_and_its_values(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset
    def copied(broker: CredentialBrokerResource, reader: Reader, writer: Writer) -> None:
        seen.extend([broker.storage("lake").get(), reader.read(), writer.write()])
        seen.append({id(one.broker._brokerage) for one in (broker, reader.broker, writer.broker)})

    broker = CredentialBrokerResource(config=str(platform), profiles=["storage/lake"])
    resources = {"broker": broker, "reader": Reader(broker=broker), "writer": Writer(broker=broker)}
    dg.materialize([copied], resources=resources, instance=instance, tags={"user": "ana"})
    first, second, third, brokers = seen
    assert first is second is third
    assert len(brokers) == 1
    assert [(record["actor"], record["job"]) for record in records("issued")] == [("ana", "__ephemeral_asset_job__")]


def test_the_end_of_a_run_leaves_the_broker_to_the_next_one(
    platform: Path, instance: dg.DagsterInstance, records: Records
) -> None:
    @dg.asset
    def reading(broker: CredentialBrokerResource) -> None:
        seen.append(broker.storage("lake").get())

    run(platform, instance, reading)
    run(platform, instance, reading)
    assert seen[0] is seen[1]
    assert len(records("issued")) == 1


def test_after_somebody_closed_the_broker_the_next_run_makes_another(platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def closing(broker: CredentialBrokerResource) -> None:
        broker.broker.close()
        with pytest.raises(BrokerClosed):
            broker.storage("lake")

    run(platform, instance, closing)
    run(platform, instance)
    assert isinstance(seen[0].storage("lake").get(), S3Credentials)


# -- pickling ----------------------------------------------------------------------------------------------------------


def test_it_pickles_as_a_reference_with_the_run_that_it_is_for(platform: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def spread(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()
        seen.append(pickle.loads(pickle.dumps(broker)))
        seen.append(pickle.loads(pickle.dumps(broker.storage("lake"))))

    result = run(platform, instance, spread)
    copy, source = seen
    assert copy.broker._run_id == result.run_id
    assert copy.storage("lake").get() is source.get()


def test_one_that_was_never_set_up_pickles_too(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_FILES", str(platform))
    for config in (str(platform), dg.EnvVar("PLATFORM_FILES")):
        copy = pickle.loads(pickle.dumps(CredentialBrokerResource(config=config, profiles=["storage/lake"])))
        assert copy.profiles == ["storage/lake"]
        assert isinstance(copy.storage("lake").get(), S3Credentials)


# -- where there is no run ---------------------------------------------------------------------------------------------


def test_a_sensor_and_a_schedule_ask_without_a_run(platform: Path, instance: dg.DagsterInstance, records: Records) -> None:
    job = dg.define_asset_job("refreshing", [orders])

    @dg.sensor(job=job)
    def arrivals(broker: CredentialBrokerResource) -> dg.SkipReason:
        seen.append(broker.storage("lake").get())
        return dg.SkipReason("nothing new")

    @dg.schedule(job=job, cron_schedule="@daily")
    def daily(broker: CredentialBrokerResource) -> dg.SkipReason:
        seen.append(broker.storage("lake").get())
        return dg.SkipReason("not today")

    resources = {"broker": CredentialBrokerResource(config=str(platform), profiles=["storage/lake"])}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        arrivals.evaluate_tick(context)
    with dg.build_schedule_context(instance=instance, resources=resources) as context:
        daily.evaluate_tick(context)
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert all(record.keys().isdisjoint({"run_id", "job", "parent", "actor"}) for record in records())


@pytest.mark.parametrize("profiles", [None, ["storage/lake"]])
def test_a_tick_does_not_fail_by_what_it_does_not_ask_for(
    profiles: list[str] | None, platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKE_KEYS")

    @dg.sensor(job=dg.define_asset_job("refreshing", [orders]))
    def arrivals(broker: CredentialBrokerResource) -> dg.SkipReason:
        seen.append(broker.catalog("production").get())
        return dg.SkipReason("nothing new")

    resources = {"broker": CredentialBrokerResource(config=str(platform), profiles=profiles)}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        arrivals.evaluate_tick(context)
    assert isinstance(seen[0], AccessToken)


def test_an_asset_that_is_called_as_a_function(platform: Path) -> None:
    orders(broker=CredentialBrokerResource(config=str(platform)))
    assert isinstance(seen[0].storage("lake").get(), S3Credentials)


def test_a_variable_that_is_not_set_is_no_other_file(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDBROKER_CONFIG", str(platform))
    with pytest.raises(ConfigurationError, match="LAKE_FILES is not set"):
        CredentialBrokerResource(config=dg.EnvVar("LAKE_FILES")).storage("lake")


def test_a_context_of_dagsters_for_tests(platform: Path) -> None:
    @dg.asset
    def reading(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> None:
        seen.append(broker.storage("lake").get())
        seen.append(broker.metadata(context))

    with dg.build_asset_context(resources={"broker": CredentialBrokerResource(config=str(platform))}) as context:
        reading(context)
    assert isinstance(seen[0], S3Credentials)


# -- retries -----------------------------------------------------------------------------------------------------------


def test_a_retried_asset_goes_on_with_what_is_held(platform: Path, instance: dg.DagsterInstance, records: Records) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def flaky(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()
        if context.retry_number < 2:
            raise RuntimeError("the network")
        seen.append(context.retry_number)

    assert run(platform, instance, flaky).success
    assert seen == [2]
    assert len(records("issued")) == 1


def test_an_asset_whose_secret_came_late_is_saved_by_its_retry(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = os.environ["LAKE_KEYS"]
    monkeypatch.delenv("LAKE_KEYS")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def late(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> None:
        if context.retry_number:
            monkeypatch.setenv("LAKE_KEYS", secret)
            broker.broker.purge("lake")  # so that the broker looks at once, and not at its own pace
        broker.storage("lake").get()
        seen.append(context.retry_number)

    assert run(platform, instance, late, profiles=[]).success
    assert seen == [1]


# -- a run's config ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"config": "/etc/hosts"},
        {"config": {"env": "LAKE_KEYS"}},
        {"namespace": {"env": "LAKE_KEYS"}},
        {"profiles": ["storage/lake"]},
        {"actor_tag": "owner"},
    ],
)
def test_who_launches_a_run_may_not_change_it(
    config: dict[str, Any], platform: Path, instance: dg.DagsterInstance, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_FILES", str(platform))
    broker = CredentialBrokerResource(config=dg.EnvVar("PLATFORM_FILES"))
    with pytest.raises((ConfigurationError, dg.DagsterResourceFunctionError)) as caught:
        dg.materialize(
            [orders],
            resources={"broker": broker, "reader": Reader(broker=broker)},
            run_config={"resources": {"broker": {"config": config}}},
            instance=instance,
        )
    error = caught.value.__cause__ or caught.value
    assert isinstance(error, ConfigurationError)
    changed = re.fullmatch(r"the run's config changes (.*) of CredentialBrokerResource, which only .*", str(error))
    assert changed is not None
    assert set(config) <= set(changed[1].split(", "))
    assert "/etc/hosts" not in str(error)
    assert_clean(str(error))
    assert records() == []


def test_a_run_s_config_that_says_what_the_definition_says_is_no_change(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_FILES", str(platform))
    dg.materialize(
        [orders],
        resources={"broker": CredentialBrokerResource(config=dg.EnvVar("PLATFORM_FILES"), profiles=["storage/lake"])},
        run_config={
            "resources": {"broker": {"config": {"config": {"env": "PLATFORM_FILES"}, "profiles": ["storage/lake"]}}}
        },
        instance=instance,
    )
    assert seen[0].broker.paths == (str(platform),)


def test_it_is_not_configured_at_launch() -> None:
    with pytest.raises(ConfigurationError, match="not for a run"):
        CredentialBrokerResource.configure_at_launch()


def test_a_run_within_another_one_s_block_is_its_own(platform: Path, instance: dg.DagsterInstance, records: Records) -> None:
    @dg.asset
    def reading(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    with Broker.shared(platform).with_context(actor="ana", run_id="another").as_shared():
        result = run(platform, instance, reading)
    assert {(one.get("actor"), one["run_id"]) for one in records()} == {(None, result.run_id)}


class OfTeam(CredentialBrokerResource):
    team: str


def test_one_with_fields_of_its_own_is_what_its_definition_says(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset
    def owned(broker: OfTeam) -> None:
        seen.append((broker.team, broker.broker.paths))

    resources = {"broker": OfTeam(config=str(platform), team="sales")}
    dg.materialize([owned], resources=resources, instance=instance)
    assert seen == [("sales", (str(platform),))]
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize(
            [owned],
            resources=resources,
            run_config={"resources": {"broker": {"config": {"team": "x", "config": str(platform), "namespace": "other"}}}},
            instance=instance,
        )
    assert "changes namespace of OfTeam" in str(caught.value.__cause__)


def test_dagsters_own_ways_to_make_one_without_a_run(platform: Path) -> None:
    resource = CredentialBrokerResource(config=str(platform))
    with resource.process_config_and_initialize_cm() as made:
        assert made.broker.paths == (str(platform),)
    with resource.yield_for_execution(dg.build_init_resource_context()) as made:
        assert made.broker.paths == (str(platform),)
    with dg.build_resources({"broker": resource}) as built:
        assert built.broker.broker.paths == (str(platform),)


def test_where_no_record_can_be_written_a_run_fails_at_its_start(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.write_text(f"{PLATFORM}\naudit: {{required: true}}\n")
    monkeypatch.setattr(logging.getLogger("credbroker.audit"), "disabled", True)
    assert "set its level to INFO" in str(refused(platform, instance, profiles=["storage/lake"]))
