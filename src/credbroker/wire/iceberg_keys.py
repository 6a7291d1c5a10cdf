"""The credentials that a catalog vends for one prefix, store by store: pure parsers that trust no field.

Sources: the names are those of Apache Iceberg's S3FileIOProperties, GCPProperties and AzureProperties; Apache Polaris adds a
SAS that names no account. Where a store's name for the expiry is set, it is in milliseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.wire.sas import SignedScope, signed_scope
from credbroker.wire.visible import VISIBLE

_KEY_ID, _SECRET, _TOKEN = "s3.access-key-id", "s3.secret-access-key", "s3.session-token"
_S3_EXPIRY = "s3.session-token-expires-at-ms"
_GCS_TOKEN, _GCS_EXPIRY = "gcs.oauth2.token", "gcs.oauth2.token-expires-at"
_SAS, _SAS_EXPIRY, _ACCOUNT = "adls.sas-token", "adls.sas-token-expires-at-ms", "adls.account-name"
_REGION = re.compile(r"[a-z0-9-]{1,64}")
# Milliseconds from 2001 to 2286: what lies outside is seconds, microseconds or garbage.
_EARLIEST_MS, _LATEST_MS = 10**12, 10**13


@dataclass(frozen=True, slots=True)
class S3Keys:
    """Keys for S3. Region and endpoint are what the catalog says, not what is believed."""

    prefix: Location
    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr
    expires_at: datetime | None
    """By the catalog's clock; None where it states none. So it is for each store."""
    region: str | None
    endpoint: str | None


@dataclass(frozen=True, slots=True)
class GCSKeys:
    """An access token for Google Cloud Storage. What it reaches it does not say."""

    prefix: Location
    access_token: SecretStr
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ADLSKeys:
    """A SAS for the account of the prefix, and what it says of itself."""

    prefix: Location
    account: str
    sas_token: SecretStr
    expires_at: datetime | None
    signed: SignedScope


VendedKeys = S3Keys | GCSKeys | ADLSKeys


def keys_for(prefix: Location, config: Mapping[str, Any]) -> VendedKeys | None:
    """The keys in ``config`` for the prefix's own store; None where there are none of any. Raises ``MalformedResponse``."""
    if not _holds(config, prefix.scheme):
        for scheme in _READERS:
            if _holds(config, scheme):
                raise MalformedResponse(f"the catalog vends credentials of {scheme}:// for {prefix}")
        return None
    try:
        return _READERS[prefix.scheme](config, prefix)
    except MalformedResponse as error:
        fault = error.message
    raise MalformedResponse(fault if str(prefix) in fault else f"{fault} (the credentials for {prefix})")


def _holds(config: Mapping[str, Any], scheme: str) -> bool:
    if scheme == "s3":
        return any(name in config for name in (_KEY_ID, _SECRET, _TOKEN))
    if scheme == "gs":
        return _GCS_TOKEN in config
    return any(name == _SAS or name.startswith(f"{_SAS}.") for name in config)


def _s3(config: Mapping[str, Any], prefix: Location) -> S3Keys:
    if config.get(_TOKEN) is None:
        raise MalformedResponse("the catalog vends a key pair without a session token: it neither ends nor is narrowed")
    region = config.get("s3.region", config.get("client.region"))
    endpoint = config.get("s3.endpoint")
    if region is not None and not (isinstance(region, str) and _REGION.fullmatch(region)):
        raise MalformedResponse("the catalog vends a region that is none")
    if endpoint is not None and not (isinstance(endpoint, str) and VISIBLE.fullmatch(endpoint)):
        raise MalformedResponse("the catalog vends an endpoint that is no URL")
    return S3Keys(
        prefix=prefix,
        access_key_id=_visible(config, _KEY_ID).get_secret_value(),
        secret_access_key=_visible(config, _SECRET),
        session_token=_visible(config, _TOKEN),
        expires_at=_expiry(config, _S3_EXPIRY),
        region=region,
        endpoint=endpoint,
    )


def _gcs(config: Mapping[str, Any], prefix: Location) -> GCSKeys:
    return GCSKeys(prefix, _visible(config, _GCS_TOKEN), _expiry(config, _GCS_EXPIRY))


def _adls(config: Mapping[str, Any], prefix: Location) -> ADLSKeys:
    host = prefix.bucket.partition("@")[2]
    account = host.partition(".")[0]
    # One account has both hosts; a SAS for one of them is good for the other (Polaris names either, Iceberg 1.7 neither).
    own = (host, host.replace(".dfs.", ".blob.", 1), account)
    name = _sas_name(config, own, account, prefix)
    sas = SecretStr(_visible(config, name).get_secret_value().removeprefix("?"))
    ends = _expiry(config, *(f"{_SAS_EXPIRY}.{of}" for of in own), _SAS_EXPIRY)
    return ADLSKeys(prefix, account, sas, ends, signed_scope(sas.get_secret_value()))


def _sas_name(config: Mapping[str, Any], own: tuple[str, ...], account: str, prefix: Location) -> str:
    """Under which name the SAS for the prefix's own account stands: any other account's is no SAS for it (iceberg#16464)."""
    named = [name for of in own if (name := f"{_SAS}.{of}") in config]
    if named:
        if any(config[name] != config[named[0]] for name in named):
            raise MalformedResponse(f"the catalog vends two different SAS for the account of {prefix}")
        return named[0]
    # One that names no account counts where nothing says that it is another one's.
    if any(name.startswith(f"{_SAS}.") for name in config) or config.get(_ACCOUNT, account) != account:
        raise MalformedResponse(f"the catalog vends a SAS for another storage account than that of {prefix}")
    return _SAS


def _visible(config: Mapping[str, Any], name: str) -> SecretStr:
    text = config.get(name)
    if not isinstance(text, str) or not VISIBLE.fullmatch(text):
        raise MalformedResponse(f"the catalog vends an incomplete or unreadable set of keys ({_family(name)})")
    return SecretStr(text)


def _expiry(config: Mapping[str, Any], *names: str) -> datetime | None:
    """The earliest that is stated under one of ``names``."""
    return min((_instant(config[name], name) for name in names if config.get(name) is not None), default=None)


def _instant(stated: object, name: str) -> datetime:
    if isinstance(stated, str) and stated.isascii() and stated.isdecimal() and len(stated) == len(str(_EARLIEST_MS)):
        stated = int(stated)
    if not isinstance(stated, int) or not _EARLIEST_MS <= stated < _LATEST_MS:
        raise MalformedResponse(f"the catalog's {_family(name)} is no sane number of milliseconds")
    return datetime.fromtimestamp(stated / 1000, UTC)


def _family(name: str) -> str:
    """The name without an account in it: that part is the server's word."""
    return next((known for known in (_SAS_EXPIRY, _SAS) if name.startswith(f"{known}.")), name)


_READERS: dict[str, Callable[[Mapping[str, Any], Location], VendedKeys]] = {"s3": _s3, "gs": _gcs, "abfss": _adls}
