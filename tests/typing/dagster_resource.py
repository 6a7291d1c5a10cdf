"""The Dagster resource as its users write it: each line must be accepted with the types that it states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import dagster as dg

from credbroker import AccessToken, Broker, CredentialSource, DatabaseCredentials
from credbroker.credentials import StorageCredentials, TableCredentials
from credbroker.integrations.dagster import CredentialBrokerResource, WithBroker, can_issue

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


def resources() -> None:
    CredentialBrokerResource()
    CredentialBrokerResource(config=dg.EnvVar("CREDBROKER_CONFIG"), profiles=["storage/lake"], actor_tag="owner")
    CredentialBrokerResource(profiles=None)
    CredentialBrokerResource(profiles=[])
    LakeFiles(broker=CredentialBrokerResource())


def words(broker: CredentialBrokerResource, context: dg.AssetExecutionContext, output: dg.OutputContext) -> None:
    assert_type(broker.catalog("production"), CredentialSource[AccessToken])
    assert_type(broker.storage("lake", "s3://lake/sales", access="read"), CredentialSource[StorageCredentials])
    assert_type(broker.table("production", "sales.orders"), CredentialSource[TableCredentials])
    assert_type(broker.compute("reporting"), CredentialSource[DatabaseCredentials | AccessToken])
    catalog: Catalog = broker.load_catalog("production", access="read_write")
    assert_type(broker.broker, Broker)
    assert_type(broker.view(context), Broker)
    assert_type(broker.view(output), Broker)
    dg.MaterializeResult(metadata=broker.metadata())
    output.add_output_metadata(broker.metadata(output))
    catalog.list_namespaces()


assert_type(can_issue("staged", "storage/lake", blocking=False), dg.AssetChecksDefinition)


class Files(dg.ConfigurableIOManager):
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None: ...

    def load_input(self, context: dg.InputContext) -> Any: ...


class LakeFiles(WithBroker, Files): ...
