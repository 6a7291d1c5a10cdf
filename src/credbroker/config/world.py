"""The world that a configuration asks for: how its network is reached, and where its secrets are."""

from __future__ import annotations

from credbroker.config.backends import resolver
from credbroker.config.settings import Platform
from credbroker.context import Context
from credbroker.system.clock import SystemClock
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp


def real_context(platform: Platform) -> Context:
    """The real one, with the proxy, certificates and hosts of ``platform.network``. It reaches nothing before it is used."""
    environment = SystemEnvironment()
    network = platform.network
    http = SystemHttp(proxy=network.proxy, ca_file=network.ca_file, allowed_hosts=network.allowed_hosts)
    world = Context(clock=SystemClock(), http=http, environment=environment)
    return Context(http=http, environment=environment, secrets=resolver(platform, world))
