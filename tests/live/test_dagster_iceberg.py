"""dagster-iceberg's IO managers, by strings alone: three tables, with sessions of 3 to 4 s and a run of three of them."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml
from tests.servers import dagster_with_iceberg
from tests.servers.dagster_home import DagsterHome

from credbroker.cli.demo.seaweed import SeaweedFS


@pytest.mark.timeout(600)
def test_tables_are_written_and_read_for_longer_than_their_keys_live(seaweed_short: SeaweedFS, tmp_path: Path) -> None:
    if not dagster_with_iceberg.installed():
        # In CI it must be there; elsewhere a machine without it still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"dagster-iceberg is not there: {dagster_with_iceberg.INSTALL}"
        )
    rest = {
        "uri": seaweed_short.catalog_uri,
        "warehouse": seaweed_short.warehouse,
        "credentials": {
            "mode": "oauth2",
            "client_id": seaweed_short.access_key,
            "client_secret": {"secret_ref": "catalog-secret"},
        },
    }
    platform = tmp_path / "platform.yaml"
    platform.write_text(yaml.safe_dump({"version": 1, "environment": "test", "catalogs": {"rest": rest}}))
    environment = {
        "CATALOG_SECRET": seaweed_short.secret_key,
        "LAKE_PLATFORM": str(platform),
        "PYTHONPATH": dagster_with_iceberg.python_path(tmp_path / "metadata"),
    }
    lake = DagsterHome(tmp_path, environment)
    where = ("-f", str(dagster_with_iceberg.LOCATION))
    lake.run("job", "execute", "-j", "lake", "--tags", '{"user": "ana"}', *where, python=dagster_with_iceberg.PYTHON)
    run = lake.last_run()
    assert run.status == dg.DagsterRunStatus.SUCCESS
    made = lake.materializations(run.run_id)
    assert list(made) == ["raw", "staged", "mart"]
    table = made["mart"]["credbroker/credentials"]
    assert isinstance(table, dg.TableMetadataValue)
    assert ("catalogs/rest", "dagster_iceberg.mart") in {(row.data["profile"], row.data["scope"]) for row in table.records}
    issued = [record for record in lake.audit(run.run_id) if record["event"] == "issued" and record["kind"] == "table"]
    asked = {(*record["table"], *record.get("assets", ()), record.get("actor")) for record in issued}
    assert asked == {
        ("dagster_iceberg", "raw", None),  # by strings alone: nobody is named
        ("dagster_iceberg", "staged", "staged", "ana"),
        ("dagster_iceberg", "mart", "mart", "ana"),
    }
    assert len({record["fingerprint"] for record in issued if record["table"] == ["dagster_iceberg", "raw"]}) >= 3
    assert lake.holding(seaweed_short.secret_key) == []
