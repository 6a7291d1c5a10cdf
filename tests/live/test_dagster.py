"""The Dagster resource in processes of Dagster's own, at a store and a catalog whose sessions last 3 to 4 s, or an hour."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from tests.servers.counted import Counted
from tests.servers.dagster_home import LOCATION, DagsterHome
from tests.servers.dagster_lake import PROCESSES
from tests.servers.jobs import until

from credbroker.cli.demo.seaweed import REGION, SeaweedFS
from credbroker.integrations.dagster import CredentialBrokerResource

KEYS = 2
"""Of the storage profile, and the catalog's token."""


def home(folder: Path, store: SeaweedFS, sts: str, tokens: str, *, session_run: bool = False) -> DagsterHome:
    lake = {
        "endpoint": store.s3_endpoint,
        "region": REGION,
        "locations": ["s3://lake/dagster/"],
        "access": "read_write",
        "credentials": {
            "mode": "iam_role",
            "role_arn": store.role_arn,
            "sts_endpoint": sts,
            "credential_source": "environment",
            "session_run": session_run,
        },
    }
    rest = {
        "uri": store.catalog_uri,
        "warehouse": store.warehouse,
        "credentials": {
            "mode": "oauth2",
            "token_url": f"{tokens}/v1/oauth/tokens",
            "client_id": store.access_key,
            "client_secret": {"secret_ref": "catalog-secret"},
        },
    }
    platform = {"version": 1, "environment": "test", "catalogs": {"rest": rest}, "storage": {"lake": lake}}
    (folder / "platform.yaml").write_text(yaml.safe_dump(platform))
    (folder / "meeting").mkdir()
    environment = {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "CATALOG_SECRET": store.secret_key,
        "LAKE_PLATFORM": str(folder / "platform.yaml"),
        "LAKE_MEETING": str(folder / "meeting"),
    }
    return DagsterHome(folder, environment)


@pytest.fixture
def sts(seaweed: SeaweedFS) -> Iterator[Counted]:
    with Counted(seaweed.sts_endpoint) as counted:
        yield counted


@pytest.fixture
def tokens(seaweed: SeaweedFS) -> Iterator[Counted]:
    with Counted(seaweed.catalog_uri) as counted:
        yield counted


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path for one; those of a test's own folder may be too long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "code"


@pytest.mark.timeout(600)
def test_eight_processes_of_a_launched_run_issue_each_key_once(
    seaweed: SeaweedFS, sts: Counted, tokens: Counted, tmp_path: Path, socket: Path
) -> None:
    lake = home(tmp_path, seaweed, sts.url, tokens.url)
    with lake.code_server(socket) as server:
        lake.run("job", "launch", "-j", "crowd", "--grpc-socket", str(socket))
        until(lambda: lake.last_run().is_finished, 400)
        assert server.ping("echo")["echo"] == "echo"
    run = lake.last_run()
    made = lake.materializations(run.run_id)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert len(made) == PROCESSES
    assert len({place.read_text() for place in (tmp_path / "meeting").iterdir()}) == PROCESSES  # all at once, each its own
    assert (len(sts.calls), len(tokens.calls)) == (PROCESSES, PROCESSES)
    assert {metadata["credbroker/issues"].value for metadata in made.values()} == {KEYS}
    assert lake.holding(seaweed.secret_key) == []


@pytest.mark.timeout(600)
def test_eight_forked_processes_of_an_executed_run(
    seaweed: SeaweedFS, sts: Counted, tokens: Counted, tmp_path: Path
) -> None:
    lake = home(tmp_path, seaweed, sts.url, tokens.url)
    lake.run("job", "execute", "-j", "forked_crowd", "-f", str(LOCATION))
    run = lake.last_run()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert len(lake.materializations(run.run_id)) == PROCESSES
    # The command itself sets the resources up too, when all is over.
    assert (len(sts.calls), len(tokens.calls)) == (PROCESSES + 1, PROCESSES + 1)


@pytest.mark.timeout(600)
def test_a_run_outlives_its_credentials_and_says_who_asked(seaweed_short: SeaweedFS, tmp_path: Path) -> None:
    lake = home(tmp_path, seaweed_short, seaweed_short.sts_endpoint, seaweed_short.catalog_uri)
    tags = '{"dagster/partition": "mon", "user": "ana"}'
    lake.run("job", "execute", "-j", "medallion", "--tags", tags, "-f", str(LOCATION))
    run = lake.last_run()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    made = lake.materializations(run.run_id)
    assert list(made) == ["raw", "staged", "mart"]
    for metadata in made.values():
        assert metadata["rows"] == metadata["expected"]
        keys, issues = metadata["keys"].value, metadata["credbroker/issues"].value
        assert isinstance(keys, int)
        assert isinstance(issues, int)
        assert keys >= 2
        assert issues > KEYS
        table = metadata["credbroker/credentials"]
        assert isinstance(table, dg.TableMetadataValue)
        assert all(record.data["expires_at"] for record in table.records)
    asked = {(record["actor"], record["job"], *record["assets"]) for record in lake.audit(run.run_id) if "assets" in record}
    assert asked == {("ana", "medallion", name) for name in ("raw", "staged", "mart")}
    assert lake.holding(seaweed_short.secret_key) == []


@pytest.mark.timeout(600)
def test_a_code_location_ticks_reloads_and_tells_no_secret(seaweed: SeaweedFS, tmp_path: Path, socket: Path) -> None:
    lake = home(tmp_path, seaweed, seaweed.sts_endpoint, seaweed.catalog_uri)
    location = tmp_path / "location.py"
    location.write_text(LOCATION.read_text())
    with lake.code_server(socket, location) as server:
        where = ("--grpc-socket", str(socket))
        assert "1 run(s)" in lake.run("sensor", "preview", "arrivals", *where)
        before = server.get_server_id()
        location.write_text(location.read_text().replace("arrivals", "deliveries"))
        server.reload_code(timeout=100)
        assert server.get_server_id() != before
        assert "1 run(s)" in lake.run("sensor", "preview", "deliveries", *where)
    assert lake.holding(seaweed.secret_key) == []


@pytest.mark.timeout(600)
def test_a_secret_that_is_not_there_ends_a_run_of_several_processes_at_its_start(seaweed: SeaweedFS, tmp_path: Path) -> None:
    lake = home(tmp_path, seaweed, seaweed.sts_endpoint, seaweed.catalog_uri)
    del lake.environment["CATALOG_SECRET"]
    with pytest.raises(AssertionError):
        lake.run("job", "execute", "-j", "medallion", "--tags", '{"dagster/partition": "mon"}', "-f", str(LOCATION))
    run = lake.last_run()
    assert run.status == dg.DagsterRunStatus.FAILURE
    with lake.instance() as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event is not None]
    kinds = [event.event_type_value for event in events]
    assert "STEP_START" not in kinds
    assert "STEP_RESTARTED" not in kinds
    failures = [event for event in events if event.is_resource_init_failure]
    assert failures[0].step_key == "raw"
    assert "CATALOG_SECRET" in str(failures[0].engine_event_data.error)
    assert lake.holding("actor_tag") == ["runs.db"]  # the job's snapshot, with the resource's fields, is looked into
    assert lake.holding(seaweed.secret_key) == []


@pytest.mark.parametrize("session_run", [False, True])
def test_a_run_has_a_session_of_its_own_where_the_profile_says_so(
    session_run: bool, seaweed: SeaweedFS, sts: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = home(tmp_path, seaweed, sts.url, seaweed.catalog_uri, session_run=session_run)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, lake.environment[name])

    def work(broker: CredentialBrokerResource) -> None:
        broker.storage("lake").get()

    resource = CredentialBrokerResource(config=str(tmp_path / "platform.yaml"), profiles=["storage/lake"])
    assets = [dg.asset(name="raw")(work), dg.asset(name="mart")(work)]
    with dg.DagsterInstance.ephemeral() as instance:
        for user in ("ana", "ana", "ben"):
            dg.materialize(assets, resources={"broker": resource}, instance=instance, tags={"user": user})
    resource.broker.close()
    assert len(sts.calls) == (3 if session_run else 2)  # else one for each actor
