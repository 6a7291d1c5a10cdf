from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.servers.hostile import HostileServer, answer

from credbroker import Broker
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.integrations.dagster.preflight import check_names, look_up_secrets, try_profiles

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
    check_names([name])  # no platform file is there to say so
    with pytest.raises(ConfigurationError, match="no profile 'absent'"):
        try_profiles(broker, [name])


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_looking_for_secrets_issues_nothing(broker: Broker, records: Records) -> None:
    look_up_secrets(broker)
    assert records() == []


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("LAKE_KEYS", "storage.lake.credentials.secret_ref"),
        ("CATALOG_TOKEN", "catalogs.production.credentials.secret_ref"),
        ("HISTORY_URI", "catalogs.history.uri"),
        ("REPORTING", "compute.reporting.credentials.secret_ref"),
    ],
)
def test_a_missing_secret_is_told_with_what_to_do_about_it(
    broker: Broker, variable: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(SecretNotFound) as caught:
        look_up_secrets(broker)
    told = str(caught.value)
    assert place in told
    assert f"environment variable '{variable}'" in told
    assert "create it in one of these places" in told
    assert "does not need that profile" in told
    assert "'profiles'" in told


def broker_of(tmp_path: Path, **sections: object) -> Broker:
    (tmp_path / "other.yaml").write_text(json.dumps({"environment": "local", **sections}))
    return Broker.from_yaml(tmp_path / "other.yaml")


def test_where_a_server_would_be_asked_nothing_is_looked_for(tmp_path: Path) -> None:
    def script(server: HostileServer) -> Iterator[bytes]:
        yield answer(b"{}", status="500 Internal Server Error")

    with HostileServer(script) as vault:
        backend = {
            "type": "vault",
            "address": f"http://127.0.0.1:{vault.port}",
            "mount": "kv",
            "auth": {"method": "token", "token": {"secret_ref": "vault-token"}},
        }
        storage = {"lake": {"allow_unscoped": True, "credentials": {"mode": "static", "secret_ref": "lake-keys"}}}
        with broker_of(tmp_path, secret_backends=[{"type": "env"}, backend], storage=storage) as broker:
            look_up_secrets(broker)
        assert vault.accepted == 0


def test_a_lease_is_not_taken(tmp_path: Path) -> None:
    login = {"mode": "static", "secret_ref": {"secret_ref": "reporting-lease", "engine": "dynamic"}}
    with broker_of(tmp_path, compute={"reporting": {"type": "postgres", "credentials": login}}) as broker:
        look_up_secrets(broker)
        with pytest.raises(ConfigurationError, match="engine: dynamic"):
            broker.compute("reporting").get()


def test_of_a_rotation_the_first_secret_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {"secret_ref": "first-secret", "next": "next-secret"}
    login = {"mode": "oauth2", "client_id": "pipe", "client_secret": secret}
    with broker_of(tmp_path, catalogs={"production": {"uri": "https://catalog.example", "credentials": login}}) as broker:
        monkeypatch.setenv("NEXT_SECRET", "one")
        with pytest.raises(SecretNotFound, match="first-secret"):
            look_up_secrets(broker)
        with pytest.raises(SecretNotFound, match="first-secret"):  # an issue needs it as well
            broker.catalog("production").get()
        monkeypatch.delenv("NEXT_SECRET")
        monkeypatch.setenv("FIRST_SECRET", "one")
        look_up_secrets(broker)
