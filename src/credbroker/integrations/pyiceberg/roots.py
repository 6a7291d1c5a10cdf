"""The roots of a table: the prefixes that PyIceberg reads and writes its files below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg.properties import LOCATION_PROVIDER
from credbroker.location import Location
from credbroker.request import Access

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

# PyIceberg's location providers read these two; whether they lie inside the profile is asked at the first file there.
_ELSEWHERE = ("write.data.path", "write.metadata.path")


def roots_of(metadata: TableMetadata) -> tuple[str, ...]:
    """The table's location, then the folders that its properties name, as far as they are locations at all."""
    found = [metadata.location]
    for key in _ELSEWHERE:
        folder = metadata.properties.get(key)
        if folder is not None and _is_location(folder):
            found.append(folder)
    return tuple(found)


def check_location_provider(metadata: TableMetadata, access: Access) -> None:
    """Raise ``ConfigurationError`` for a table whose properties name a class for PyIceberg to import when it writes.

    Whoever may alter the table would choose which code runs in a process that holds keys.
    """
    if access is not Access.READ and metadata.properties.get(LOCATION_PROVIDER):
        raise ConfigurationError(f"the table's property {LOCATION_PROVIDER!r} names code to run: remove it, or load to read")


def _is_location(text: str) -> bool:
    try:
        Location.parse(text)
    except ConfigurationError:
        return False
    return True
