"""What an Iceberg REST catalog answers, as far as credentials go: pure parsers that trust no field.

Source: ``open-api/rest-catalog-open-api.yaml`` of Apache Iceberg (CatalogConfig, LoadTableResult, LoadCredentialsResponse,
StorageCredential). What stands in a ``config`` for each store is read by ``iceberg_keys``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.location import Location, covering
from credbroker.wire.iceberg_keys import VendedKeys, keys_for

PATH_PROPERTIES = ("write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path")
"""A table's properties that say where its writers put files; Iceberg's Java library still reads the older last two."""

_REFRESH_ENDPOINTS = tuple(f"{of}.refresh-credentials-endpoint" for of in ("client", "adls", "gcs.oauth2"))
_STORES = ("s3", "s3a", "s3n", "gs", "abfs", "abfss")
# A table has a location and a few folders. Each prefix costs a search at every file.
_MOST_PREFIXES = 100
_LONGEST_LOCATION = 2048  # characters: more than any store takes, so that no error shows the megabyte that it refuses
_CODE = re.compile(r"[A-Z][A-Za-z]{2,59}")


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """What is taken from ``GET /v1/config``: where the routes begin, and which there are. All else is ignored."""

    prefix: str
    """Ready for a URL: quoted, without a slash at either end; empty for none."""
    endpoints: frozenset[str]
    separator: str = "\x1f"
    """Between the levels of a namespace: rest-catalog-open-api.yaml, parameter "namespace"."""


def document(body: bytes) -> Mapping[str, Any]:
    """The JSON object in ``body``. Raises ``MalformedResponse``."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedResponse("the catalog's answer is no JSON") from None
    if not isinstance(found, dict):
        raise MalformedResponse("the catalog's answer is no JSON object")
    return found


def catalog_config(reply: Mapping[str, Any]) -> CatalogConfig:
    """The prefix (an override before a default) and the endpoints. Raises ``MalformedResponse``."""
    prefix = ""
    for section in ("overrides", "defaults"):
        settings = reply.get(section) or {}
        if not isinstance(settings, dict):
            raise MalformedResponse(f"the catalog's {section} are no JSON object")
        if "prefix" in settings:
            prefix = _route(settings["prefix"])
            break
    endpoints = reply.get("endpoints") or []
    if not isinstance(endpoints, list) or not all(isinstance(endpoint, str) for endpoint in endpoints):
        raise MalformedResponse("the catalog's endpoints are no list of texts")
    return CatalogConfig(prefix, frozenset(endpoints), _separator(reply))


def _separator(reply: Mapping[str, Any]) -> str:
    for section in ("overrides", "defaults"):
        stated = (reply.get(section) or {}).get("namespace-separator")
        if stated is None:
            continue
        # PyIceberg and Java take it unquoted. A slash, a dot segment or a query would lead to other routes of that host.
        plain = unquote(stated) if isinstance(stated, str) else ""
        if plain != "\x1f" and not re.fullmatch(r"[!$&'()*+,;=:@|~_.-]{1,3}", plain):
            raise MalformedResponse("the catalog's namespace-separator is none that a route can carry")
        return plain
    return "\x1f"


def table_places(reply: Mapping[str, Any]) -> tuple[tuple[str, Location], ...]:
    """Where a LoadTableResult says that the table's files are: its location, and what its properties name, each with a name.

    An empty property counts as none. Raises ``MalformedResponse``.
    """
    metadata = reply.get("metadata")
    if not isinstance(metadata, dict):
        raise MalformedResponse("the catalog's answer has no metadata, and so no location of the table")
    properties = metadata.get("properties")
    if not isinstance(properties, dict | None):
        raise MalformedResponse("the table's properties are no JSON object")
    places = [("location", _location(metadata.get("location"), " as the table's location"))]
    for name in PATH_PROPERTIES:
        path = (properties or {}).get(name)
        if path not in (None, ""):
            places.append((name, _location(path, f" as the table's {name}")))
    return tuple(places)


def refresh_endpoints(reply: Mapping[str, Any]) -> frozenset[str]:
    """Where a reply would have its keys refreshed, by any of its configs. Raises ``MalformedResponse``."""
    found = set()
    for config in (_config(reply), *(config for _, config in _entries(reply))):
        for name in _REFRESH_ENDPOINTS:
            endpoint = config.get(name)
            if isinstance(endpoint, str):
                found.add(endpoint)
            elif endpoint is not None:
                raise MalformedResponse("the catalog's refresh-credentials-endpoint is no text")
    return frozenset(found)


def vended(reply: Mapping[str, Any], table: Location | None) -> tuple[VendedKeys, ...]:
    """The keys in a LoadTableResult, or in a LoadCredentialsResponse, which tells no ``table`` location.

    ``storage-credentials`` come first; ``config`` counts for the table's own location where none of them covers it. Empty
    where nothing is vended. Raises ``MalformedResponse``, and ``ConfigurationError`` for keys of stores that are not known.
    """
    found: dict[Location, VendedKeys] = {}
    others: set[str] = set()
    for prefix, config in _entries(reply):
        scheme, separator, _ = prefix.partition("://")
        if separator and scheme.lower() not in _STORES:
            others.add(scheme.lower())
        elif (keys := keys_for(_location(prefix), config)) is not None and found.setdefault(keys.prefix, keys) != keys:
            raise MalformedResponse(f"the catalog vends two different sets of keys for {keys.prefix}")
    if table is not None and covering(tuple(found), table) is None and (keys := keys_for(table, _config(reply))) is not None:
        found[table] = keys
    if not found and others:
        raise ConfigurationError(
            f"the catalog vends credentials for {_shown(others)}: credbroker takes those for s3, gs and abfss only"
        )
    return tuple(found.values())


def _shown(schemes: set[str]) -> str:
    """The schemes as far as they are plain names: they are a server's words."""
    return ", ".join(sorted(scheme for scheme in schemes if re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme))) or "another store"


def error_type(body: bytes) -> str | None:
    """The ``error.type`` of an IcebergErrorResponse, where there is one that is a plain name."""
    try:
        error = document(body).get("error")
    except MalformedResponse:
        return None
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) and _CODE.fullmatch(kind) else None


def _entries(reply: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    entries = reply.get("storage-credentials")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise MalformedResponse("the catalog's storage-credentials are no list")
    if len(entries) > _MOST_PREFIXES:
        raise MalformedResponse(
            f"the catalog vends credentials for {len(entries)} prefixes: at most {_MOST_PREFIXES} are read"
        )
    checked = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("prefix"), str):
            raise MalformedResponse("one of the catalog's storage-credentials has no prefix")
        checked.append((entry["prefix"], _config(entry)))
    return checked


def _config(of: Mapping[str, Any]) -> Mapping[str, Any]:
    config = of.get("config")
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise MalformedResponse("a config of the catalog is no JSON object")
    return config


def _location(text: object, use: str = "") -> Location:
    if not isinstance(text, str) or len(text) > _LONGEST_LOCATION:
        raise MalformedResponse(f"the catalog names something{use} that is no location, or one too long for any store")
    try:
        return Location.parse(text)
    except ConfigurationError as error:
        raise MalformedResponse(f"the catalog names a location{use} that is refused: {error.message}") from None


def _route(prefix: object) -> str:
    """The prefix as a part of a URL's path. One with dot segments would lead to other routes of that host."""
    if not isinstance(prefix, str):
        raise MalformedResponse("the catalog's prefix is no text")
    prefix = prefix.strip("/")
    if not prefix:
        return ""
    decoded = unquote(prefix)
    if any(segment in ("", ".", "..") for segment in [*decoded.split("/"), *prefix.split("/")]) or re.search(
        r"[\x00-\x20\x7f?#\\]", decoded
    ):
        raise MalformedResponse("the catalog's prefix is no path")
    return quote(prefix, safe="/%:@!$&'()*+,;=~|")
