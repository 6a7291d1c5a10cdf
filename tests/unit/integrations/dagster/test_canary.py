"""A canary in every secret of the platform file: nothing that Dagster shows, keeps or sends holds it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from tests.security.canary import CODINGS, assert_clean, everything_about
from tests.servers.dagster_home import written

from credbroker.errors import CredbrokerError
from credbroker.integrations.dagster import CredentialBrokerResource, can_issue

PROFILES = ["storage/lake", "catalogs/production", "compute/reporting", "catalogs/history"]


@pytest.fixture
def resource(platform: Path) -> CredentialBrokerResource:
    return CredentialBrokerResource(config=str(platform), profiles=PROFILES)


@dg.asset
def everything(broker: CredentialBrokerResource) -> dg.MaterializeResult[None]:
    for source in (broker.storage("lake"), broker.catalog("production"), broker.compute("reporting")):
        source.get()
    return dg.MaterializeResult(metadata=broker.metadata())


@dg.asset(deps=[everything])
def broken(broker: CredentialBrokerResource) -> None:
    keys = broker.storage("lake").get()
    raise RuntimeError(f"with {keys!r} and {broker!r}")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """The folder of an instance that keeps all on disk."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "python_logs: {managed_python_loggers: [credbroker, credbroker.audit], python_log_level: DEBUG}\n"
    )
    yield folder
    for path, held in written(folder):
        assert not [coding for coding in CODINGS if coding.encode() in held], path


def test_the_repository_snapshot_holds_none(resource: CredentialBrokerResource) -> None:
    definitions = dg.Definitions(
        assets=[everything, broken],
        asset_checks=[can_issue(everything, *PROFILES)],
        resources={"broker": resource},
    )
    resource.storage("lake").get()  # even from one that holds values
    snapshot = dg.serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))
    assert "CredentialBrokerResource" in snapshot
    assert_clean(snapshot)


def test_a_run_that_works_and_one_that_fails_keep_none(resource: CredentialBrokerResource, kept: Path) -> None:
    with dg.DagsterInstance.from_config(str(kept)) as instance:
        result = dg.materialize(
            [everything, broken, can_issue(everything, *PROFILES)],
            resources={"broker": resource},
            run_config={"resources": {"broker": {"config": {"config": resource.config, "profiles": PROFILES}}}},
            instance=instance,
            raise_on_error=False,
        )
        assert not result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        log = [dg.serialize_value(entry) for entry in instance.all_logs(result.run_id)]
    assert any('\\"issued\\"' in entry for entry in log)  # the audit is among it
    assert any("RuntimeError" in entry for entry in log)
    assert_clean("\n".join(log))
    assert_clean(dg.serialize_value(run))
    assert_clean(json.dumps(run.run_config))


def test_no_repr_and_no_pickle_holds_any(resource: CredentialBrokerResource, instance: dg.DagsterInstance) -> None:
    seen: list[str] = []

    @dg.asset
    def showing(broker: CredentialBrokerResource) -> None:
        source = broker.storage("lake")
        source.get()
        shown = (broker, broker.broker, source, broker.metadata(), broker._views, broker._work)
        seen.extend(repr(one) for one in shown)
        seen.extend([str(pickle.dumps(broker)), str(broker), broker.model_dump_json(), repr(broker.model_dump())])

    dg.materialize([showing], resources={"broker": resource}, instance=instance)
    assert len(seen) == 10
    assert_clean("\n".join(seen))


@pytest.mark.parametrize(
    "wrong",
    [
        {"profiles": "canary+/0b5e7c%3A-client"},
        {"token": "canary-7d1f.token.0a2b"},
        {"config": {"canary+/0b5e7c%3A-client": 1}},
        {"actor_tag": ["canary-7d1f.token.0a2b"]},
    ],
)
def test_a_field_that_is_refused_does_not_say_its_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="CredentialBrokerResource") as caught:
        CredentialBrokerResource(**wrong)
    assert_clean(str(caught.value))
    assert_clean(repr(caught.value))


def test_the_error_at_the_start_of_a_run_holds_none(
    platform: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPORTING")
    resource = CredentialBrokerResource(config=str(platform), profiles=PROFILES)
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize([everything], resources={"broker": resource}, instance=instance)
    cause = caught.value.__cause__
    assert isinstance(cause, CredbrokerError)
    assert_clean(everything_about(cause))
