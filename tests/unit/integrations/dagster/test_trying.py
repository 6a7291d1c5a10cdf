from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from credbroker import Broker
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.integrations.dagster.trying import try_profiles

if TYPE_CHECKING:
    from tests.unit.integrations.dagster.conftest import Records


@pytest.fixture
def broker(platform: Path) -> Iterator[Broker]:
    with Broker.from_yaml(platform) as running:
        yield running


def issued(records: Records) -> list[tuple[str, str, list[str] | None, str | None]]:
    return [(one["kind"], one["profile"], one.get("locations"), one.get("access")) for one in records("issued")]


def test_each_is_issued_once(broker: Broker, records: Records) -> None:
    try_profiles(broker, ["storage/lake", "catalogs/production", "compute/reporting", "storage/lake"])
    assert issued(records) == [
        ("storage", "lake", ["s3://lake/sales/"], "read"),
        ("catalog", "production", None, None),
        ("compute", "reporting", None, None),
    ]


def test_storage_is_tried_at_its_first_location_for_what_it_allows(broker: Broker, records: Records) -> None:
    try_profiles(broker, ["storage/inbox"])
    assert issued(records) == [("storage", "inbox", ["s3://inbox/a/"], "write")]


def test_local_files_need_nothing(broker: Broker, records: Records) -> None:
    try_profiles(broker, ["storage/files"])
    assert records() == []


def test_a_database_of_tables_is_tried_by_its_storage_and_the_secret_in_its_uri(
    broker: Broker, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_profiles(broker, ["catalogs/history"])
    assert issued(records) == [("storage", "lake", ["s3://lake/sales/"], "read")]
    monkeypatch.delenv("HISTORY_URI")
    with pytest.raises(SecretNotFound, match="HISTORY_URI"):
        try_profiles(broker, ["catalogs/history"])


@pytest.mark.parametrize("name", ["lake", "storage", "storage/", "storage:lake", "catalog/production", "", "/lake"])
def test_a_name_without_a_section_says_how_it_is_written(broker: Broker, name: str) -> None:
    with pytest.raises(ConfigurationError, match="storage/lake, catalogs/production, compute/reporting"):
        try_profiles(broker, [name])


@pytest.mark.parametrize("name", ["storage/absent", "catalogs/absent", "compute/absent"])
def test_an_unknown_profile_is_named(broker: Broker, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no profile 'absent'"):
        try_profiles(broker, [name])
