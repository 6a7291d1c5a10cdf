"""Which properties may reach PyIceberg, by where they come from. Pure.

What the platform team wrote decides where a catalog is and who asks. A pipeline may tune; it may not redirect: with ``uri``
or ``s3.endpoint`` credentials would be sent to a host of its choice, with ``py-io-impl`` or ``s3.retry-strategy-impl`` they
would be handed to code of its choice, with ``s3.anonymous`` or ``s3.profile-name`` another identity would be used unnoticed.
A catalog server may tell how its paths are built, and nothing else. A table's properties reach no FileIO at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from credbroker.errors import ConfigurationError

CLASS = "py-catalog-impl"
FILE_IO = "py-io-impl"
URI = "uri"
WAREHOUSE = "warehouse"
SEPARATOR = "namespace-separator"
LOCATION_PROVIDER = "write.py-location-provider.impl"
OURS = frozenset({CLASS, "credbroker.config", "credbroker.catalog", "credbroker.access", "credbroker.io"})

# What a FileIO may be told beside its credentials. Timeouts are in seconds.
CONNECT_TIMEOUT = "s3.connect-timeout"
REQUEST_TIMEOUT = "s3.request-timeout"
BUFFER_SIZE = "buffer-size"
_FOR_FILES = frozenset({CONNECT_TIMEOUT, REQUEST_TIMEOUT, BUFFER_SIZE})

# Iceberg REST specification, "getConfig": how the server's paths are built. Where it says more, it is not listened to.
_FROM_SERVER = frozenset({"prefix", SEPARATOR, "view-endpoints-supported"})

# Whole families that say who asks, where, or by which code; only what tunes is let through.
_FAMILIES = (
    "adls.", "auth", "client.", "credbroker.", "dynamodb.", "gcs.", "glue.", "hdfs.", "hf.", "hive.", "oauth2", "oss.",
    "py-", "rest.sig", "s3.", "s3tables.", "signer", "ssl",
)  # fmt: skip
_WORDS = re.compile(
    r"access-key|account|anonymous|audience|authorization|botocore|bucket|cookie|credential|custom|endpoint|factory|host"
    r"|impl(?!icit)|key|location|manager|password|plugin|private|profile|proxies|proxy|resource|role|sas|scope|secret|server"
    r"|session|sig(?:n|v4)|token|uri|url|warehouse|x-amz|x-forwarded|x-http-method|x-iceberg|x-method|x-remote|x-user"
)
_EXACTLY = frozenset({"type", "prefix", SEPARATOR})
_ALLOWED = _FOR_FILES | frozenset({"rest-page-size", "snapshot-loading-mode", "view-endpoints-supported"})


def refuse_redirects(passed: Mapping[str, object], *, warehouse: str | None) -> None:
    """Raise ``ConfigurationError`` that names the first key which a pipeline may not pass on, and says why.

    ``warehouse`` is the profile's: passing the same one on changes nothing, and so is no fault.
    """
    for key, value in passed.items():
        if key in OURS:
            continue
        if key == WAREHOUSE and (warehouse is None or value == warehouse):
            continue
        if redirects(key):
            raise ConfigurationError(
                f"the property {key!r} is refused: where a catalog is, who asks and which code runs is for its profile in "
                "platform.yaml to say; remove it"
            )
        if not isinstance(value, str | int | float | bool):
            raise ConfigurationError(f"the property {key!r} must be a text, not {type(value).__name__}")


def redirects(key: str) -> bool:
    """Whether a property of that name may say where requests go, who sends them, or which code runs."""
    plain = key.strip().lower().replace("_", "-")
    if plain in _ALLOWED:
        return False
    if plain.startswith("header.") and not plain.startswith("header.x-"):
        return True  # Host, Transfer-Encoding, Cookie ...: a header of the protocol changes what the request is
    return plain in _EXACTLY or plain.startswith(_FAMILIES) or _WORDS.search(plain) is not None


def from_profile(properties: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Those of a profile's own properties that only tune, and the names of the others."""
    tuning = {key: value for key, value in properties.items() if not redirects(key)}
    return tuning, sorted(properties.keys() - tuning.keys())


def from_server(properties: Mapping[str, str]) -> dict[str, str]:
    """The part of a catalog server's defaults or overrides that is listened to."""
    return {key: value for key, value in properties.items() if key in _FROM_SERVER}


def for_files(properties: Mapping[str, object]) -> dict[str, object]:
    """The part of a catalog's properties that its FileIO is told."""
    return {key: value for key, value in properties.items() if key in _FOR_FILES}
