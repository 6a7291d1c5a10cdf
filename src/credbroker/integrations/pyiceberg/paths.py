"""Where a file of a table lies. Pure.

A file's name is data: partition values stand in it, percent-encoded by the writer (``name=a%2Fb``). So it is read as it is,
less strictly than ``Location.parse`` reads what is asked of an issuer; what may be done there is the credential's to say.
"""

from __future__ import annotations

import unicodedata

from credbroker.errors import ConfigurationError
from credbroker.location import Location

_SCHEMES = frozenset({"s3", "s3a", "s3n"})


def file_location(text: str | Location) -> Location:
    """The bucket and the raw key of a file. Raises ``ConfigurationError`` for what two clients would read differently."""
    if isinstance(text, Location):
        return text
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise _refused(text, "only s3:// files are served")
    bucket, _, key = rest.partition("/")
    if not bucket or "@" in bucket or ":" in bucket:
        raise _refused(text, "its bucket is no name")
    if "?" in rest or "#" in rest:
        raise _refused(text, "it has a query or fragment")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in rest):
        raise _refused(text, "it has a control character")
    if any(segment in (".", "..") for segment in key.split("/")):
        raise _refused(text, "it has a '.' or '..' segment")
    return Location("s3", bucket, key.removesuffix("/"))


def folder_of(file: Location) -> Location:
    """The folder that a file lies in."""
    return Location(file.scheme, file.bucket, file.key.rpartition("/")[0])


def table_root(file: Location) -> Location | None:
    """The table's location by PyIceberg's own layout, ``<location>/metadata/`` or ``<location>/data/``; else None."""
    parent, _, last = folder_of(file).key.rpartition("/")
    return Location(file.scheme, file.bucket, parent) if last in ("metadata", "data") else None


def _refused(text: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"the file {text!r} is refused: {rule}")
