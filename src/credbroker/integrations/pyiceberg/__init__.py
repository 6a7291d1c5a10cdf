"""PyIceberg catalogs whose token and storage credentials come from the broker, and follow its refresh.

::

    from credbroker.integrations.pyiceberg import load_catalog
    catalog = load_catalog(broker, "production", access="read")

or by strings alone, from wherever PyIceberg takes a catalog's properties::

    pyiceberg.catalog.load_catalog(
        "production", **{"py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerRestCatalog"}
    )

Supports PyIceberg 0.11 and 0.12. ``docs/pyiceberg.md`` says what may be passed on, and what is refused.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg.loading import load_catalog

if TYPE_CHECKING:
    from credbroker.integrations.pyiceberg.arrow import BrokerPyArrowFileIO
    from credbroker.integrations.pyiceberg.fsspec import BrokerFsspecFileIO
    from credbroker.integrations.pyiceberg.glue import BrokerGlueCatalog
    from credbroker.integrations.pyiceberg.rest import BrokerRestCatalog
    from credbroker.integrations.pyiceberg.sql import BrokerSqlCatalog

# Each needs packages that the others do not (SQLAlchemy, s3fs): it is imported when its name is first asked for.
_HOMES = {
    "BrokerFsspecFileIO": ("fsspec", "s3fs"),
    "BrokerPyArrowFileIO": ("arrow", "pyiceberg"),
    "BrokerGlueCatalog": ("glue", "aws"),
    "BrokerRestCatalog": ("rest", "pyiceberg"),
    "BrokerSqlCatalog": ("sql", "pyiceberg"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _HOMES[name]
    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{name} needs the package {error.name!r}: pip install 'credbroker-data[{extra}]'"
        ) from None


__all__ = [
    "BrokerFsspecFileIO",
    "BrokerGlueCatalog",
    "BrokerPyArrowFileIO",
    "BrokerRestCatalog",
    "BrokerSqlCatalog",
    "load_catalog",
]
