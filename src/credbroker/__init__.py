"""Short-lived, narrowly scoped credentials for data pipelines, refreshed before they expire.

The names below are loaded when they are first used (PEP 562): importing the package loads no cloud SDK, no HTTP client
and no schema library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from credbroker.broker import Broker
    from credbroker.config import PlatformConfig
    from credbroker.credentials import (
        AccessToken,
        ADLSCredentials,
        DatabaseCredentials,
        GCSCredentials,
        S3Credentials,
        TableCredentials,
    )
    from credbroker.errors import CredbrokerError
    from credbroker.request import Access
    from credbroker.secrets.reference import SecretReference
    from credbroker.source import CredentialSource

_HOMES = {
    "ADLSCredentials": "credbroker.credentials",
    "Access": "credbroker.request",
    "AccessToken": "credbroker.credentials",
    "Broker": "credbroker.broker",
    "CredbrokerError": "credbroker.errors",
    "CredentialSource": "credbroker.source",
    "DatabaseCredentials": "credbroker.credentials",
    "GCSCredentials": "credbroker.credentials",
    "PlatformConfig": "credbroker.config",
    "S3Credentials": "credbroker.credentials",
    "SecretReference": "credbroker.secrets.reference",
    "TableCredentials": "credbroker.credentials",
}

__all__ = [
    "ADLSCredentials",
    "Access",
    "AccessToken",
    "Broker",
    "CredbrokerError",
    "CredentialSource",
    "DatabaseCredentials",
    "GCSCredentials",
    "PlatformConfig",
    "S3Credentials",
    "SecretReference",
    "TableCredentials",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
