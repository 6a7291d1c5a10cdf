"""What a caller passes to the nouns of a broker, checked and brought into the form of a request. Pure.

Raises ``ConfigurationError``, whatever is wrong.
"""

from __future__ import annotations

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access

_MOST_LOCATIONS = 100
_LONGEST = 1000


def scopes(scope: str | None) -> frozenset[str]:
    """The scopes of a text with spaces between."""
    if scope is not None and not isinstance(scope, str):
        raise ConfigurationError(f"scope is a text of scopes with spaces between, not {type(scope).__name__}")
    return frozenset((scope or "").split())


def locations(given: tuple[str | Location, ...]) -> tuple[Location, ...]:
    """Each parsed, in a fixed order, and none twice: equal requests have equal keys."""
    if len(given) > _MOST_LOCATIONS:
        raise ConfigurationError(
            f"{len(given)} locations are asked for at once, and no policy holds more than {_MOST_LOCATIONS}: ask for a "
            f"prefix that they share, or for fewer (from {str(given[0])[:200]!r} to {str(given[-1])[:200]!r})"
        )
    return tuple(sorted({Location.parse(location) for location in given}, key=str))


def access(given: Access | str | None) -> Access | None:
    """The access of that name."""
    if given is None:
        return None
    try:
        return Access(given)
    except ValueError:
        raise ConfigurationError("access is one of 'read', 'write' and 'read_write'") from None


def identifier(table: str | tuple[str, ...], catalog: str) -> tuple[str, ...]:
    """A table's identifier, namespace levels first."""
    parts = tuple(table.split(".")) if isinstance(table, str) else table
    if len(parts) < 2 or not all(isinstance(part, str) and part for part in parts):
        raise ConfigurationError(
            f"a table is named with its namespace, as 'sales.orders'; {table!r} is not", profile=catalog
        )
    return parts


def asserted(name: str, text: str | None) -> str | None:
    """An actor or a run, which goes into each record as it is: one that would fill them is refused."""
    if text is not None and len(text) > _LONGEST:
        raise ConfigurationError(f"{name} has {len(text)} characters: at most {_LONGEST} go on record")
    return text or None
