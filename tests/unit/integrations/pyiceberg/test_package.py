from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from credbroker.errors import ConfigurationError
from credbroker.integrations import pyiceberg as adapters
from credbroker.integrations.pyiceberg import load_catalog

if TYPE_CHECKING:
    from tests.unit.integrations.pyiceberg.conftest import Desk


def _absent(_: str) -> None:
    raise ModuleNotFoundError("No module named 'absent'", name="absent")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("BrokerFsspecFileIO", "s3fs"),
        ("BrokerPyArrowFileIO", "pyiceberg"),
        ("BrokerRestCatalog", "pyiceberg"),
        ("BrokerSqlCatalog", "pyiceberg"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "import_module", _absent)
    with pytest.raises(ConfigurationError, match=rf"{name} needs the package 'absent': .*credbroker-data\[{extra}\]"):
        getattr(adapters, name)


def test_load_catalog_says_so_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "import_module", _absent)
    with pytest.raises(ConfigurationError, match=r"credbroker-data\[pyiceberg\]"):
        load_catalog(desk.broker, "production")


def test_every_name_is_there_and_no_other() -> None:
    assert all(hasattr(adapters, name) for name in adapters.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = adapters.Nothing
