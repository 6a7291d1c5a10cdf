"""The routes of an Iceberg REST catalog, and whose word is taken for where a table's files are. Pure.

Every URL is built from the profile's own ``uri``. What a catalog answers may not send its clients elsewhere: a
``refresh-credentials-endpoint`` would be handed the catalog's token (apache/iceberg#16463), an ``s3.endpoint`` what the
table's keys sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.hosts import host_matches, is_loopback
from credbroker.location import Location
from credbroker.profile import CatalogProfile
from credbroker.wire.iceberg import CatalogConfig
from credbroker.wire.iceberg_keys import S3Keys

CREDENTIALS_ROUTE = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials"
_NAMESPACE_AND_TABLE = 2
_HOST = re.compile(r"[a-z0-9._:-]+")  # a backslash or a "%2f" in it would be the end of the host to some clients
_NOT_PLAIN = re.compile(r"[\x00-\x20\x7f\\]")
# Azure, "Storage account endpoints", of each of its clouds; and OneLake's.
_AZURE = re.compile(
    r"dfs\.(core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)|fabric\.microsoft\.com)|z[0-9]{2}\.dfs\.storage\.azure\.net"
)


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


def check_refresh_endpoint(endpoint: str, uri: str) -> None:
    """Raise ``MalformedResponse`` unless ``endpoint`` is relative, or on the origin of the catalog's ``uri``.

    credbroker never asks there: its routes are built from ``uri``. But a reply that would send the catalog's token elsewhere
    (apache/iceberg#16463, #16482) is none to take keys from.
    """
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise MalformedResponse("the catalog names a refresh-credentials-endpoint that is no URL") from None
    if _NOT_PLAIN.search(endpoint):  # cut out or read as slashes by some clients: it would be another URL to them
        raise MalformedResponse("the catalog names a refresh-credentials-endpoint with a blank, a control or a backslash")
    relative = not parts.scheme and not endpoint.startswith("//")
    if not relative and (parts.username is not None or _origin(parts) != _origin(urlsplit(uri))):
        raise MalformedResponse(
            f"the catalog names a refresh-credentials-endpoint on {_shown(host)}, which is not the origin of its profile's "
            "uri; nothing was sent there: have the catalog name a relative one"
        )


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    port = {"https": 443, "http": 80}.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname or "", port


def _shown(host: str) -> str:
    """The host as far as it is a plain name: it is a server's word."""
    return repr(host) if len(host) <= 253 and _HOST.fullmatch(host) else "another host"


def check_account_host(prefix: Location, profile: CatalogProfile) -> None:
    """Raise ``MalformedResponse`` for an ``abfss://`` prefix that is neither on a host of Azure's own nor on an allowed one.

    Asked where no profile names the prefix: whoever opens it connects to the host in it, and the data would go there.
    """
    host = prefix.bucket.partition("@")[2]
    if not _AZURE.fullmatch(host.partition(".")[2]) and not host_matches(host, profile.allowed_hosts):
        raise MalformedResponse(
            f"the catalog vends a SAS for {prefix}, whose host is neither Azure's own nor in network.allowed_hosts: "
            "name it in a storage profile of this catalog"
        )


def check_endpoint(keys: S3Keys, profile: CatalogProfile, uri: str) -> str | None:
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
            f"the catalog vends keys for an S3 endpoint on {_shown(host)}, neither AWS's own for the region, nor on the "
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
