"""Who asked, and for what of a pipeline: on record, and no part of the key."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from credbroker import Broker
from credbroker.context import Context
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.request import CredentialRequest, Lineage
from credbroker.table_locations import storage_for
from credbroker.tally import Tally
from credbroker.testing import ControlledProvider, ManualClock, tick

RUN = "7d6b3f5e-6c5c-4a86-9a7c-1c9f1f3f2b11"
PLATFORM: dict[str, Any] = {
    "version": 1,
    "environment": "local",
    "catalogs": {
        "production": {
            "uri": "https://catalog.example/api",
            "storage": "lake",
            "credentials": {"mode": "oauth2", "client_id": "etl", "client_secret": {"secret_ref": "etl"}},
        }
    },
    "storage": {
        "lake": {
            "locations": ["s3://lake/sales/"],
            "credentials": {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/Pipe"},
        }
    },
}
MART = Lineage("nightly", "dagster", ("mart/orders",), "2026-01-01")


@pytest.fixture
def broker() -> Iterator[Broker]:
    clock = ManualClock()
    providers = {mode: ControlledProvider() for mode in ("oauth2", "iam_role")}
    with Broker.from_config(PLATFORM, providers=providers, context=Context(clock=clock)) as running:
        yield running


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    caplog.set_level(logging.INFO, "credbroker.audit")
    return lambda: [json.loads(record.getMessage()) for record in caplog.records if record.name == "credbroker.audit"]


def test_it_is_in_every_record_of_what_it_caused(broker: Broker, records: Callable[[], list[dict[str, Any]]]) -> None:
    view = broker.with_context(actor="ana", run_id=RUN, lineage=MART)
    view.storage("lake").get()
    with pytest.raises(AccessDenied):
        view.storage("lake", "s3://lake/finance/")
    broker.purge("lake")
    assert [record["event"] for record in records()] == ["requested", "issued", "denied", "usage"]
    for record in records():
        assert (record["job"], record["assets"], record["partition"]) == ("nightly", ["mart/orders"], "2026-01-01")
        assert record["parent"] == {"run": {"runId": RUN}, "job": {"namespace": "dagster", "name": "nightly"}}


def test_absent_parts_are_absent(broker: Broker, records: Callable[[], list[dict[str, Any]]]) -> None:
    broker.with_context(lineage=Lineage(assets=("mart/orders",))).storage("lake").get()
    broker.catalog("production").get()
    of_asset, of_nobody = records()[0], records()[2]
    assert of_asset["assets"] == ["mart/orders"]
    assert of_asset.keys().isdisjoint({"job", "partition", "parent", "run_id"})
    assert of_nobody.keys().isdisjoint({"job", "assets", "partition", "parent"})


def test_of_a_step_with_hundreds_of_assets_the_first_are_named_and_the_rest_counted(
    broker: Broker, records: Callable[[], list[dict[str, Any]]]
) -> None:
    broker.with_context(lineage=Lineage(assets=tuple(f"mart/{number}" for number in range(500)))).storage("lake").get()
    for record in records():
        assert (record["assets"][0], len(record["assets"]), record["assets_left_out"]) == ("mart/0", 50, 450)


def test_what_would_fill_the_records_is_refused(broker: Broker) -> None:
    assert broker.with_context(actor="a" * 1000).storage("lake").request.actor == "a" * 1000
    for field in ("actor", "run_id"):
        with pytest.raises(ConfigurationError, match=f"{field} has 1001 characters"):
            broker.with_context(**{field: "a" * 1001})


def test_it_is_no_part_of_the_key(broker: Broker) -> None:
    raw = broker.with_context(run_id=RUN, lineage=Lineage("nightly", "dagster", ("raw/orders",)))
    mart = broker.with_context(run_id="another", lineage=MART)
    assert raw.storage("lake").get() is mart.storage("lake").get() is broker.storage("lake").get()
    assert len(broker.status()) == 1
    assert CredentialRequest("storage", "lake", lineage=MART) == CredentialRequest("storage", "lake")
    assert hash(CredentialRequest("storage", "lake", lineage=MART)) == hash(CredentialRequest("storage", "lake"))


def test_the_record_names_who_caused_this_issue_and_not_who_caused_the_first(
    broker: Broker, records: Callable[[], list[dict[str, Any]]]
) -> None:
    for lineage in (Lineage("nightly", "dagster", ("raw/orders",)), MART):
        view = broker.with_context(run_id=RUN, lineage=lineage)
        value = view.storage("lake").get()
        view.storage("lake").invalidate(value)
    issued = [record["assets"] for record in records() if record["event"] == "issued"]
    assert issued == [["raw/orders"], ["mart/orders"]]


def test_a_refresh_in_the_background_is_on_record_for_who_found_the_value_last(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    clock, refreshed = ManualClock(), threading.Event()
    with Broker.from_config(PLATFORM, providers={"iam_role": ControlledProvider()}, context=Context(clock=clock)) as broker:
        raw = broker.with_context(run_id=RUN, lineage=Lineage("nightly", "dagster", ("raw/orders",)))
        mart = broker.with_context(run_id="another", lineage=MART)
        value = raw.storage("lake").get()
        assert mart.storage("lake").get() is value
        raw.storage("lake").on_refresh(lambda _: refreshed.set())
        clock.advance(50 * 60)
        tick(broker)
        assert refreshed.wait(30)
        assert (raw.issues, mart.issues) == (1, 1)
    issued = [(record["run_id"], record["assets"]) for record in records() if record["event"] == "issued"]
    assert issued == [(RUN, ["raw/orders"]), ("another", ["mart/orders"])]


def test_who_comes_while_an_issue_is_under_way_is_not_on_record_for_it(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    provider = ControlledProvider()
    provider.hold()
    with Broker.from_config(PLATFORM, providers={"iam_role": provider}, context=Context(clock=ManualClock())) as broker:
        callers = [threading.Thread(target=broker.with_context(run_id=run).storage("lake").get) for run in (RUN, "another")]
        callers[0].start()
        provider.wait_for_calls(1)
        callers[1].start()
        while broker._brokerage.engine.slots()[0].asked.run_id == RUN:
            threading.Event().wait(0.01)
        provider.release()
        for caller in callers:
            caller.join()
    told = [record["run_id"] for record in records() if record["event"] in ("requested", "issued")]
    assert told == [RUN, RUN]


def test_a_view_pickles_with_it(broker: Broker) -> None:
    view = broker.with_context(run_id=RUN, lineage=MART)
    copy = pickle.loads(pickle.dumps(view))
    assert copy.storage("lake").request.lineage == MART
    assert pickle.loads(pickle.dumps(view.storage("lake"))).request.lineage == MART


def test_a_view_of_a_view_keeps_what_it_does_not_say_anew(broker: Broker) -> None:
    view = broker.with_context(actor="ana", run_id=RUN, lineage=MART).with_context(actor="ben")
    request = view.storage("lake").request
    assert (request.actor, request.run_id, request.lineage) == ("ben", RUN, MART)


# -- what a view asked for, and how often its run had something issued -------------------------------------------------


def test_the_status_of_a_view_is_of_what_it_was_asked(broker: Broker) -> None:
    one, other = broker.with_context(run_id=RUN, lineage=MART), broker.with_context(run_id=RUN)
    one.storage("lake").get()
    other.storage("lake").get()
    other.catalog("production").get()
    other.catalog("production").get()
    assert [entry["kind"] for entry in one.status(own=True)] == ["storage"]
    assert sorted(str(entry["kind"]) for entry in other.status(own=True)) == ["catalog", "storage"]
    assert len(broker.status()) == 2
    broker.purge("lake")
    assert one.status(own=True) == []


def test_a_view_is_one_however_often_it_is_asked_for(broker: Broker) -> None:
    view = broker.with_context(run_id=RUN, lineage=MART)
    again = broker.with_context(run_id=RUN).with_context(
        lineage=Lineage("nightly", "dagster", ("mart/orders",), "2026-01-01")
    )
    assert again is view
    assert pickle.loads(pickle.dumps(view)) is view
    gone = weakref.ref(broker.with_context(run_id="over"))
    gc.collect()
    assert gone() is None


def test_the_status_of_a_view_is_of_every_handle_that_came_from_it(broker: Broker) -> None:
    view = broker.with_context(run_id=RUN)
    pickle.loads(pickle.dumps(view.catalog("production"))).get()
    storage_for(view, "production", "s3://lake/sales/2026").get()
    assert [(entry["kind"], entry["locations"]) for entry in view.status(own=True)] == [
        ("catalog", []),
        ("storage", ["s3://lake/sales/2026/"]),
    ]


def test_issues_are_counted_by_run(broker: Broker) -> None:
    view = broker.with_context(run_id=RUN)
    assert view.issues == 0
    view.storage("lake").get()
    broker.with_context(run_id=RUN, lineage=MART).catalog("production").get()
    broker.with_context(run_id="another").storage("lake").get()
    assert view.issues == 2
    assert broker.with_context(run_id="another").issues == 0
    broker.purge("lake")
    broker.storage("lake").get()
    assert (view.issues, broker.issues) == (2, 1)


def test_the_tally_remembers_the_latest_thousand_runs() -> None:
    tally = Tally()
    tally.count("first")
    for number in range(999):
        tally.count(str(number))
    tally.count("first")
    tally.count("one more")
    assert (tally.of("first"), tally.of("0"), tally.of("1")) == (2, 0, 1)


def test_a_forked_child_counts_from_nothing() -> None:
    tally = Tally()
    tally.count(RUN)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with tally._lock:
            held.set()
            over.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        os._exit(tally.of(RUN))
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert tally.of(RUN) == 1


# -- by strings alone --------------------------------------------------------------------------------------------------


def test_within_the_block_what_is_shared_is_this_view(tmp_path: Path) -> None:
    path, other = tmp_path / "platform.yaml", tmp_path / "other.yaml"
    for place in (path, other):
        place.write_text(json.dumps(PLATFORM))
    broker = Broker.shared(path)
    view = broker.with_context(run_id=RUN, lineage=MART)
    with view.as_shared():
        assert Broker.shared(path) is view
        with pytest.raises(ConfigurationError, match=r"other\.yaml is not the configuration"):
            Broker.shared(other)
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(Broker.shared(path)._run_id))
        thread.start()
        thread.join()
        assert seen == [None]
    assert Broker.shared(path)._run_id is None
    assert Broker.shared(path) is broker
    broker.close()
