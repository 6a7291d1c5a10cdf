"""The roots of a table: the prefixes that PyIceberg reads and writes its files below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg.binding import Binding
from credbroker.integrations.pyiceberg.properties import LOCATION_PROVIDER
from credbroker.location import Location
from credbroker.request import Access
from credbroker.table_locations import check_table_location
from credbroker.wire.iceberg import PATH_PROPERTIES

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata


def roots_of(metadata: TableMetadata) -> tuple[str, ...]:
    """The table's location, then the folders that its properties name. Raises as ``folders_of`` does."""
    return (metadata.location, *folders_of(metadata.properties))


def folders_of(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """The folders that a table's properties name. Raises ``ConfigurationError`` for one that is no location.

    PyIceberg writes where the first two of these properties say; other writers, whose files it reads, by the older two.
    """
    found = []
    for key in PATH_PROPERTIES:
        if folder := properties.get(key):  # PyIceberg takes an empty one for none
            try:
                found.append(str(Location.parse(folder)))
            except ConfigurationError as error:
                raise ConfigurationError(f"the table's property {key!r} is no place for files: {error.message}") from None
    return tuple(found)


def check_roots(roots: Iterable[str], binding: Binding) -> None:
    """Raise ``AccessDenied``, on record, for a table of which a root lies outside of what the catalog's profile allows.

    Where the catalog vends, the broker checks its reply too. But a reply of keys alone names none of these folders: a table
    that would send its writers elsewhere is refused here, when it is loaded (CVE-2026-42809, CVE-2026-42812).
    """
    for root in roots:
        check_table_location(binding.broker, binding.catalog, root, binding.access)


def check_location_provider(metadata: TableMetadata, access: Access) -> None:
    """Raise ``ConfigurationError`` for a table whose properties name a class for PyIceberg to import when it writes.

    Whoever may alter the table would choose which code runs in a process that holds keys.
    """
    if access is not Access.READ and metadata.properties.get(LOCATION_PROVIDER):
        raise ConfigurationError(f"the table's property {LOCATION_PROVIDER!r} names code to run: remove it, or load to read")
