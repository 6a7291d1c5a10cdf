"""How a cell's broker is opened, and asked: said in JSON, so that a new process can do the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credbroker import Broker
from credbroker.context import Context, Http
from credbroker.secrets.resolver import Resolver, default_backends
from credbroker.source import CredentialSource
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from tests.servers.named import Named
from tests.servers.rerouted import Rerouted

Ask = tuple[str, ...]
"""``("storage", "lake", "s3://lake/sales", "read")``, ``("catalog", "lake")`` or ``("compute", "dwh")``."""


@dataclass(frozen=True)
class Opening:
    """How a broker is opened: JSON, so that another process can do the same. The rest is in the environment."""

    config: Mapping[str, Any]
    origins: Mapping[str, str] | None = None
    """Where a vendor's hosts are played; None: no host is led elsewhere, and the broker has a transport of its own."""
    authority: str | None = None
    named: str | None = None
    """The host that requests name in their header (see ``Named``)."""

    def broker(self) -> Broker:
        if self.origins is None:
            return Broker.from_config(self.config)
        environment = SystemEnvironment()
        http: Http = SystemHttp(ca_file=self.authority)
        http = Rerouted(Named(http, self.named) if self.named else http, self.origins)
        secrets = Resolver(default_backends(), Context(environment=environment))
        return Broker.from_config(self.config, context=Context(http=http, environment=environment, secrets=secrets))


def source_of(broker: Broker, ask: Ask) -> CredentialSource[Any]:
    kind, name, *more = ask
    if kind == "storage":
        return broker.storage(name, more[0], access=more[1])
    return broker.catalog(name) if kind == "catalog" else broker.compute(name)
