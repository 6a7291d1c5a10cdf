"""A Dagster resource: assets name a profile and hold no secret.

::

    import dagster as dg
    from credbroker.integrations.dagster import CredentialBrokerResource

    @dg.asset
    def orders(broker: CredentialBrokerResource) -> None:
        table = broker.load_catalog("production", access="read_write").load_table("sales.orders")
        ...

    defs = dg.Definitions(assets=[orders], resources={"broker": CredentialBrokerResource(config="platform.yaml")})

``docs/dagster.md`` has IO managers, executors, checks and what goes on record.
"""

from __future__ import annotations

from credbroker.integrations.dagster.checks import can_issue
from credbroker.integrations.dagster.io_managers import WithBroker
from credbroker.integrations.dagster.resource import CredentialBrokerResource

__all__ = ["CredentialBrokerResource", "WithBroker", "can_issue"]
