"""load_catalog: a PyIceberg catalog from a broker and a profile's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from credbroker.errors import ConfigurationError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from credbroker.broker import Broker


def load_catalog(
    broker: Broker,
    name: str,
    access: Literal["read", "read_write"] = "read",
    io: Literal["pyarrow", "fsspec"] = "pyarrow",
    **properties: Any,
) -> Catalog:
    """The PyIceberg catalog of the profile ``name`` under ``catalogs:``: by its ``type`` a REST one, a SQL one, or Glue's.

    ``access="read_write"`` is needed to write. ``properties`` are passed on to PyIceberg as far as they only tune.
    Raises ``ConfigurationError`` for a property that would redirect, an unknown profile, or a package that is not installed.
    """
    from credbroker.integrations import pyiceberg as adapters
    from credbroker.integrations.pyiceberg.binding import Binding
    from credbroker.integrations.pyiceberg.properties import OURS

    binding = Binding.of(broker, name, access, io)
    kind = getattr(broker.profile("catalog", name), "type", None)
    for key in properties:
        if key == "binding" or key in OURS:
            raise ConfigurationError(f"the property {key!r} is refused: broker, name, access and io are arguments here")
    if kind == "sql":
        return adapters.BrokerSqlCatalog(name, binding=binding, **properties)
    if kind == "glue":
        return adapters.BrokerGlueCatalog(name, binding=binding, **properties)
    return adapters.BrokerRestCatalog(name, binding=binding, **properties)
