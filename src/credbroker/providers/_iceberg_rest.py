"""The routes of an Iceberg REST catalog, and whose word is taken for where a table's files are. Pure.

Every URL is built from the profile's own ``uri``. What a catalog answers may not send its clients elsewhere: a
``refresh-credentials-endpoint`` would be handed the catalog's token (apache/iceberg#16463), an ``s3.endpoint`` what the
table's keys sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote, urlencode, urlsplit

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.hosts import host_matches, is_loopback
from credbroker.location import Location, covering
from credbroker.profile import CatalogProfile, StorageProfile
from credbroker.wire.iceberg import CatalogConfig, VendedKeys

CREDENTIALS_ROUTE = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials"
_NAMESPACE_AND_TABLE = 2
_HOST = re.compile(r"[a-z0-9._:-]+")  # a backslash or a "%2f" in it would be the end of the host to some clients


def check_identifier(table: tuple[str, ...] | None) -> tuple[str, ...]:
    """The table's identifier, namespace levels first. Raises ``ConfigurationError`` for one that no route can carry."""
    if table is None or len(table) < _NAMESPACE_AND_TABLE:
        raise ConfigurationError("a table is named with its namespace, such as 'sales.orders'")
    for name in table:
        # A dot segment would be resolved on the way, and lead to another route; U+001F would end a level.
        if name.strip() in ("", ".", "..") or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise ConfigurationError(f"the table identifier {table!r} has a blank or dot name, or a control character")
    return table


def config_url(uri: str, warehouse: str | None) -> str:
    """``GET /v1/config``."""
    query = f"?{urlencode({'warehouse': warehouse})}" if warehouse else ""
    return f"{uri.rstrip('/')}/v1/config{query}"


def table_url(uri: str, config: CatalogConfig, table: tuple[str, ...]) -> str:
    """``GET /v1/{prefix}/namespaces/{namespace}/tables/{table}``, without its query."""
    *levels, name = table
    base = "/".join(part for part in (uri.rstrip("/"), "v1", config.prefix) if part)
    return f"{base}/namespaces/{_quoted(config.separator.join(levels))}/tables/{_quoted(name)}"


def storage_for(profile: CatalogProfile, location: Location) -> StorageProfile | None:
    """The catalog's storage profile that contains ``location``; the longest of its locations decides between two."""
    chosen: tuple[int, StorageProfile] | None = None
    for storage in profile.storage:
        found = covering(storage.locations, location)
        if found is not None and (chosen is None or len(found.segments) > chosen[0]):
            chosen = (len(found.segments), storage)
    return chosen[1] if chosen else None


def check_endpoint(keys: VendedKeys, profile: CatalogProfile, uri: str) -> str | None:
    """The vended endpoint where no storage profile names one; None is AWS's own for the region.

    Taken are AWS's own for the region, one on the catalog's own host, and one on an allowed host; by TLS, or on loopback.
    Raises ``MalformedResponse`` for any other: the keys, and the data, would go there.
    """
    endpoint = keys.endpoint
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise MalformedResponse("the catalog vends an endpoint that is no URL") from None
    plain = parts.scheme == "http" and (is_loopback(host) or (profile.allow_insecure and not profile.production))
    if (
        parts.username is not None
        or parts.query
        or parts.fragment
        or not _HOST.fullmatch(host)
        or not (parts.scheme == "https" or plain)
        or not (_is_aws(host, keys.region) or host == urlsplit(uri).hostname or _is_allowed(host, profile.allowed_hosts))
    ):
        raise MalformedResponse(
            f"the catalog vends keys for an S3 endpoint on {host!r}, which is neither AWS's own for the region, nor on the "
            "catalog's host, nor an https host in network.allowed_hosts (where a '*.' does not count below amazonaws.com): "
            "name it in a storage profile of this catalog"
        )
    return endpoint


def _is_aws(host: str, region: str | None) -> bool:
    if host == "s3.amazonaws.com":
        return region in (None, "us-east-1")
    suffix = "amazonaws.com.cn" if region and region.startswith("cn-") else "amazonaws.com"
    services = ("s3", "s3.dualstack", "s3-fips", "s3-fips.dualstack")
    return region is not None and host in {f"{service}.{region}.{suffix}" for service in services}


def _is_allowed(host: str, patterns: Sequence[str]) -> bool:
    if host.removesuffix(".").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        # Any customer of AWS has names below it: a load balancer's, an API's, a virtual machine's.
        patterns = [pattern for pattern in patterns if not pattern.startswith("*")]
    return host_matches(host, patterns)


def _quoted(text: str) -> str:
    return quote(text, safe="")
