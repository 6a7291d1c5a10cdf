"""A catalog described by strings alone: ``py-catalog-impl`` and the ``credbroker.*`` properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyiceberg.utils.config import Config

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg.binding import Binding


def binding_and_passed(name: str, binding: Binding | None, properties: Mapping[str, Any]) -> tuple[Binding, dict[str, Any]]:
    """The binding to load with, and what the pipeline passes on beside it.

    Where PyIceberg makes the catalog from ``py-catalog-impl`` there is no binding yet, and only the properties of the call
    are passed on. Those of the same catalog in ``.pyiceberg.yaml`` and ``PYICEBERG_CATALOG__*`` are read here, below them.
    """
    if isinstance(binding, Binding):
        return binding, dict(properties)
    if binding is not None:
        raise ConfigurationError("the property 'binding' is refused: it is no property of a catalog")
    passed: dict[str, Any] = {**(Config().get_catalog_config(name) or {}), **properties}
    return Binding.from_strings(name, passed), passed
