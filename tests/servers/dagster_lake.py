"""A code location of Dagster's, as its processes load it: by this file's path, with nothing of the test around it.

``LAKE_PLATFORM`` is the platform file, ``LAKE_MEETING`` a folder where processes wait for each other.
(Dagster takes a context's type from the annotation itself: no ``from __future__ import annotations``.)
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from credbroker.integrations.dagster import CredentialBrokerResource, can_issue

PROCESSES = 8
THREADS = 16
LONGER = timedelta(seconds=6)
"""A session lives for 3 to 4 s."""
DAYS = dg.StaticPartitionsDefinition(["mon"])

broker = CredentialBrokerResource(config=dg.EnvVar("LAKE_PLATFORM"), profiles=["storage/lake", "catalogs/rest"])


def meet(name: str) -> None:
    """Wait until as many processes are here."""
    meeting = Path(os.environ["LAKE_MEETING"])
    (meeting / name).write_text(str(os.getpid()))
    poll, started = threading.Event(), datetime.now(UTC)
    while len(list(meeting.iterdir())) < PROCESSES:
        assert datetime.now(UTC) - started < timedelta(seconds=150), "the others did not come"
        poll.wait(0.05)


def member(number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"member_{number}", group_name="crowd")
    def made(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
        meet(str(number))
        with ThreadPoolExecutor(THREADS) as threads:
            keys = {one.result() for one in [threads.submit(broker.storage("lake").get) for _ in range(100)]}
            tokens = {one.result() for one in [threads.submit(broker.catalog("rest").get) for _ in range(100)]}
        assert len(keys) == len(tokens) == 1
        return dg.MaterializeResult(metadata=broker.metadata())

    return made


def rows(first: int) -> Any:
    import pyarrow as pa  # not for the crowd: eight processes load this file at once

    return pa.table({"id": pa.array(range(first, first + 10), pa.int64())})


def writing(broker: CredentialBrokerResource, name: str, source: str | None = None) -> dg.MaterializeResult[Any]:
    """Append to a table of the catalog again and again, for longer than a credential lives, by one and the same handle."""
    catalog = broker.load_catalog("rest", access="read_write")
    catalog.create_namespace_if_not_exists("dagster")
    table = catalog.create_table_if_not_exists(f"dagster.{name}", rows(0).schema)
    read = catalog.load_table(f"dagster.{source}") if source is not None else None
    fingerprints = set()
    started, turns = datetime.now(UTC), 0
    while datetime.now(UTC) - started < LONGER:
        table.append(rows(turns * 10) if read is None else read.scan(limit=10).to_arrow())
        fingerprints |= {record["fingerprint"] for record in broker.broker.status(own=True) if record["kind"] == "table"}
        turns += 1
        threading.Event().wait(0.5)
    metadata: dict[str, Any] = {"rows": table.scan().to_arrow().num_rows, "expected": turns * 10}
    return dg.MaterializeResult(metadata={**broker.metadata(), **metadata, "keys": len(fingerprints)})


@dg.asset(group_name="medallion", partitions_def=DAYS)
def raw(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    return writing(broker, "raw")


@dg.asset(group_name="medallion", partitions_def=DAYS, deps=[raw])
def staged(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    return writing(broker, "staged", "raw")


@dg.asset(group_name="medallion", partitions_def=DAYS, deps=[staged], retry_policy=dg.RetryPolicy(max_retries=1))
def mart(context: dg.AssetExecutionContext, broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    if context.retry_number == 0:
        raise RuntimeError("once")
    return writing(broker, "mart", "staged")


def ticked(broker: CredentialBrokerResource) -> Iterator[dg.RunRequest]:
    token = broker.catalog("rest").get()
    assert broker.catalog("rest").get() is token
    yield dg.RunRequest(run_key=token.fingerprint)


@dg.sensor(job_name="medallion")
def arrivals(broker: CredentialBrokerResource) -> Iterator[dg.RunRequest]:
    yield from ticked(broker)


@dg.schedule(job_name="medallion", cron_schedule="@daily")
def daily(broker: CredentialBrokerResource) -> Iterator[dg.RunRequest]:
    yield from ticked(broker)


defs = dg.Definitions(
    assets=[*(member(number) for number in range(PROCESSES)), raw, staged, mart],
    asset_checks=[can_issue(raw, "storage/lake", "catalogs/rest")],
    jobs=[
        dg.define_asset_job(
            "crowd",
            dg.AssetSelection.groups("crowd"),
            executor_def=dg.multiprocess_executor.configured({"max_concurrent": PROCESSES}),
        ),
        dg.define_asset_job(
            "forked_crowd",
            dg.AssetSelection.groups("crowd"),
            executor_def=dg.multiprocess_executor.configured(
                {
                    "max_concurrent": PROCESSES,
                    "start_method": {"forkserver": {"preload_modules": ["credbroker.integrations.dagster"]}},
                }
            ),
        ),
        dg.define_asset_job("medallion", dg.AssetSelection.groups("medallion")),
    ],
    sensors=[arrivals],
    schedules=[daily],
    resources={"broker": broker},
)
