"""How a data client reaches the world: by the ``network:`` section, and by nothing of the environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from credbroker.config.settings import NetworkSettings
from credbroker.errors import ConfigurationError
from credbroker.hosts import host_matches, is_loopback
from credbroker.source import CredentialSource


def network_of(source: CredentialSource[Any]) -> NetworkSettings:
    """The ``network:`` section at this moment: a reload may say something else, so nobody keeps it."""
    return source._broker.network  # noqa: SLF001


def check_host(network: NetworkSettings, url: str) -> None:
    """Raise ``ConfigurationError`` unless ``network.allowed_hosts`` allows the host of ``url``."""
    host = urlsplit(url).hostname or ""
    if network.allowed_hosts is not None and not host_matches(host, network.allowed_hosts):
        raise ConfigurationError(f"the host {host!r} is not in network.allowed_hosts: nothing is sent to it")


def proxy_for(network: NetworkSettings, url: str) -> str | None:
    """The proxy to go through; None for loopback, which would be the proxy's own."""
    return None if is_loopback(urlsplit(url).hostname or "") else network.proxy
