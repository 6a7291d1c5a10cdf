"""A platform file whose secrets are canaries, an instance of Dagster's in memory, and the audit as it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.security.canary import SECRET, TOKEN

from credbroker import Broker

PLATFORM = """
version: 1
environment: local
principal: data-platform-svc
catalogs:
  production:
    uri: https://catalog.example/api
    credentials: {mode: static, secret_ref: catalog-token}
  history: {type: sql, uri: {secret_ref: history-uri}, storage: [lake, files]}
storage:
  lake:
    region: eu-west-1
    locations: [s3://lake/sales/]
    access: read_write
    allow_unscoped: true
    credentials: {mode: static, secret_ref: lake-keys}
  inbox:
    region: eu-west-1
    locations: [s3://inbox/a/, s3://inbox/b/]
    access: write
    allow_unscoped: true
    credentials: {mode: static, secret_ref: lake-keys}
  files: {type: local}
compute:
  reporting: {type: postgres, properties: {user: etl}, credentials: {mode: static, secret_ref: reporting}}
"""


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of the platform file; what its secrets are called is in the environment."""
    monkeypatch.setenv("CATALOG_TOKEN", TOKEN)
    monkeypatch.setenv("LAKE_KEYS", f"AKIDEXAMPLE:{SECRET}")
    monkeypatch.setenv("HISTORY_URI", f"postgresql://etl:{SECRET}@history.example/catalog")
    monkeypatch.setenv("REPORTING", SECRET)
    path = tmp_path / "platform.yaml"
    path.write_text(PLATFORM)
    yield path
    Broker.shared(path).close()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """One a module: it takes long to make. No test looks at the runs of another."""
    with dg.DagsterInstance.ephemeral() as running:
        yield running


Records = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """The audit's records so far, of one event or of all."""
    caplog.set_level(logging.INFO, "credbroker.audit")

    def so_far(event: str | None = None) -> list[dict[str, Any]]:
        lines = [record.getMessage() for record in caplog.records if record.name == "credbroker.audit"]
        return [found for found in map(json.loads, lines) if event in (None, found["event"])]

    return so_far
