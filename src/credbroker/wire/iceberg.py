"""What an Iceberg REST catalog answers, as far as credentials go: pure parsers that trust no field.

Source: ``open-api/rest-catalog-open-api.yaml`` of Apache Iceberg (CatalogConfig, LoadTableResult, LoadCredentialsResponse,
StorageCredential); the expiry is stated only by S3FileIOProperties' ``s3.session-token-expires-at-ms``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from pydantic import SecretStr

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.location import Location, covering
from credbroker.wire.visible import VISIBLE

_KEY_ID, _SECRET, _TOKEN = "s3.access-key-id", "s3.secret-access-key", "s3.session-token"
_EXPIRY = "s3.session-token-expires-at-ms"
_S3_SCHEMES = ("s3", "s3a", "s3n")
_OTHER_STORES = {"gs": "gcs.oauth2.token", "abfss": "adls.sas-token"}
_REGION = re.compile(r"[a-z0-9-]{1,64}")
# Milliseconds from 2001 to 2286: what lies outside is seconds, microseconds or garbage.
_EARLIEST_MS, _LATEST_MS = 10**12, 10**13
_CODE = re.compile(r"[A-Z][A-Za-z]{2,59}")


@dataclass(frozen=True, slots=True)
class VendedKeys:
    """S3 keys that a catalog vends for one prefix. Region and endpoint are what it says, not what is believed."""

    prefix: Location
    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr
    expires_at: datetime | None
    """By the catalog's clock; None where it states none."""
    region: str | None
    endpoint: str | None


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


def table_location(reply: Mapping[str, Any]) -> Location:
    """The table's location in a LoadTableResult. Raises ``MalformedResponse``."""
    metadata = reply.get("metadata")
    location = metadata.get("location") if isinstance(metadata, dict) else None
    if not isinstance(location, str):
        raise MalformedResponse("the catalog's answer names no location of the table")
    return _location(location)


def vended(reply: Mapping[str, Any], table: Location | None) -> tuple[VendedKeys, ...]:
    """The S3 keys in a LoadTableResult, or in a LoadCredentialsResponse, which tells no ``table`` location.

    ``storage-credentials`` come first; ``config`` counts for the table's own location where none of them covers it. Empty
    where nothing is vended. Raises ``MalformedResponse``, and ``ConfigurationError`` for keys of another store than S3.
    """
    found: list[VendedKeys] = []
    others: set[str] = set()
    for prefix, config in _entries(reply):
        scheme = prefix.partition("://")[0].lower()
        if scheme not in _S3_SCHEMES:
            others.add(scheme)
        elif (keys := _keys(config, _location(prefix))) is not None:
            found.append(keys)
    if table is not None and covering(tuple(keys.prefix for keys in found), table) is None:
        config = _texts(reply.get("config") or {})
        mark = _OTHER_STORES.get(table.scheme)
        if mark is not None and any(name.startswith(mark) for name in config):
            others.add(table.scheme)
        elif table.scheme == "s3" and (keys := _keys(config, table)) is not None:
            found.append(keys)
    if not found and others:
        raise ConfigurationError(
            f"the catalog vends credentials for {_shown(others)}: this version of credbroker takes those for s3 only"
        )
    return tuple(found)


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
    entries = reply.get("storage-credentials") or []
    if not isinstance(entries, list):
        raise MalformedResponse("the catalog's storage-credentials are no list")
    checked = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("prefix"), str):
            raise MalformedResponse("one of the catalog's storage-credentials has no prefix")
        checked.append((entry["prefix"], _texts(entry.get("config") or {})))
    return checked


def _texts(config: object) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise MalformedResponse("a config of the catalog is no JSON object")
    return config


def _keys(config: Mapping[str, Any], prefix: Location) -> VendedKeys | None:
    if not any(name in config for name in (_KEY_ID, _SECRET, _TOKEN)):
        return None
    texts = {}
    for name in (_KEY_ID, _SECRET, _TOKEN):
        text = config.get(name)
        if text is None and name == _TOKEN:
            raise MalformedResponse("the catalog vends a key pair without a session token: it neither ends nor is narrowed")
        if not isinstance(text, str) or not VISIBLE.fullmatch(text):
            raise MalformedResponse(f"the catalog vends an incomplete or unreadable set of keys ({name})")
        texts[name] = text
    region = config.get("s3.region", config.get("client.region"))
    endpoint = config.get("s3.endpoint")
    if region is not None and not (isinstance(region, str) and _REGION.fullmatch(region)):
        raise MalformedResponse("the catalog vends a region that is none")
    if endpoint is not None and not (isinstance(endpoint, str) and VISIBLE.fullmatch(endpoint)):
        raise MalformedResponse("the catalog vends an endpoint that is no URL")
    return VendedKeys(
        prefix=prefix,
        access_key_id=texts[_KEY_ID],
        secret_access_key=SecretStr(texts[_SECRET]),
        session_token=SecretStr(texts[_TOKEN]),
        expires_at=_expiry(config.get(_EXPIRY)),
        region=region,
        endpoint=endpoint,
    )


def _expiry(stated: object) -> datetime | None:
    if stated is None:
        return None
    if isinstance(stated, str) and stated.isascii() and stated.isdecimal() and len(stated) == len(str(_EARLIEST_MS)):
        stated = int(stated)
    if not isinstance(stated, int) or not _EARLIEST_MS <= stated < _LATEST_MS:
        raise MalformedResponse(f"the catalog's {_EXPIRY} is no sane number of milliseconds")
    return datetime.fromtimestamp(stated / 1000, UTC)


def _location(text: str) -> Location:
    try:
        return Location.parse(text)
    except ConfigurationError as error:
        raise MalformedResponse(f"the catalog names a location that is refused: {error.message}") from None


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
