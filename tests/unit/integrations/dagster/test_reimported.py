from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from tests.unit.integrations.dagster.reimported import nightly

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(120)
def test_a_process_that_imports_the_definitions_anew_has_a_broker_of_its_own(
    platform: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE_PLATFORM", str(platform))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # of the process, Dagster's own
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.execute_job(dg.reconstructable(nightly), instance=instance, tags={"user": "ana"}) as result,
    ):
        assert result.success
        (made,) = result.asset_materializations_for_node("orders")
        assert made.metadata["process"].value != os.getpid()
        assert made.metadata["credbroker/issues"].value == 1
