"""Which tenant of a Polaris server is meant: the profile's word, on every request of PyIceberg's session."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.integrations.pyiceberg.conftest import CatalogServer, configuration, metadata

from credbroker import AccessToken, Broker
from credbroker.context import Context
from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg import load_catalog
from credbroker.testing import ControlledProvider, ManualClock


def _broker(server: CatalogServer, folder: Path, realm: str) -> Broker:
    platform = configuration(server.url, folder / "ledger.db")
    production: dict[str, Any] = platform["catalogs"]["production"]
    production["credentials"] = production["credentials"] | {"realm": realm}
    production["properties"] = {"header.Polaris-Realm": "another"}
    tokens = ControlledProvider(answer=lambda number, request, context: AccessToken(SecretStr("token")))
    return Broker.from_config(platform, providers={"oauth2": tokens}, context=Context(clock=ManualClock()))


def test_every_request_names_the_realm_of_the_profile(server: CatalogServer, tmp_path: Path) -> None:
    server.table("orders", metadata())
    with _broker(server, tmp_path, "tenant-1") as broker:
        catalog = load_catalog(broker, "production")
        catalog.load_table("sales.orders")
        pickle.loads(pickle.dumps(catalog)).load_table("sales.orders")
    assert len(server.asked) >= 3
    assert {request.headers.get("polaris-realm") for request in server.asked} == {"tenant-1"}


def test_a_pipeline_may_not_name_another(server: CatalogServer, tmp_path: Path) -> None:
    with _broker(server, tmp_path, "tenant-1") as broker, pytest.raises(ConfigurationError, match=r"header\.Polaris-Realm"):
        load_catalog(broker, "production", **{"header.Polaris-Realm": "another"})


def test_a_realm_that_no_header_carries_reaches_no_server(server: CatalogServer, tmp_path: Path) -> None:
    with _broker(server, tmp_path, "realm-ä") as broker, pytest.raises(ConfigurationError, match="realm"):
        load_catalog(broker, "production")
    assert server.asked == []
