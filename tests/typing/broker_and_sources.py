"""The broker and its handles as a user's type checker sees them. Checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

from pydantic import SecretStr

from credbroker import (
    Access,
    AccessToken,
    Broker,
    CredbrokerError,
    CredentialSource,
    PlatformConfig,
    SecretReference,
    TableCredentials,
)
from credbroker.config.settings import SidecarSettings
from credbroker.context import Context
from credbroker.credentials import Credential, StorageCredentials
from credbroker.location import Location
from credbroker.profile import Profile
from credbroker.providers import Grant, Provider
from credbroker.request import CredentialRequest


class Embedded:
    """A provider of an embedder's own: the protocol is met by its two methods alone."""

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        raise CredbrokerError(f"nothing for {request.profile}", profile=context.profile.name)

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant(locations=request.locations or profile.locations)


def brokers(config: PlatformConfig, data: Mapping[str, Any]) -> None:
    assert_type(Broker.from_yaml("platform.yaml", Path("more.yaml")), Broker)
    assert_type(Broker.from_env(), Broker)
    provider: Provider = Embedded()
    assert_type(Broker.from_config(config, providers={"own": provider}, context=Context()), Broker)
    with Broker.from_config(data) as broker:
        assert_type(broker, Broker)
        assert_type(broker.with_context(actor="ana@example.com", run_id="42"), Broker)


def handles(broker: Broker) -> None:
    assert_type(broker.catalog("production"), CredentialSource[AccessToken])
    assert_type(broker.storage("lake", "s3://lake/sales", access="read"), CredentialSource[StorageCredentials])
    assert_type(
        broker.storage("lake", Location.parse("s3://lake/a"), access=Access.READ), CredentialSource[StorageCredentials]
    )
    assert_type(broker.table("production", ("sales", "orders"), access="write"), CredentialSource[TableCredentials])
    lake = broker.storage("lake", "s3://lake/sales", access="read_write")
    assert_type(lake.downscope("s3://lake/sales/2026", access=Access.READ), CredentialSource[StorageCredentials])
    assert_type(lake.explain(), Grant)
    assert_type(lake.explain().policy, Mapping[str, object] | None)
    assert_type(lake.explain().locations, tuple[Location, ...] | None)
    assert_type(broker.table("production", "sales.orders").get().locations, tuple[Location, ...] | None)
    assert_type(broker.table("production", "sales.orders").get().prefixes, tuple[Location, ...])
    assert_type(broker.sidecar, SidecarSettings | None)
    broker.storage("lake", acess="read")  # type: ignore[call-arg]  # a misspelt keyword is caught before it runs


async def values(source: CredentialSource[AccessToken]) -> None:
    assert_type(source.get(), AccessToken)
    assert_type(source.get(min_ttl=timedelta(minutes=30)), AccessToken)
    assert_type(source.get(wait=True), AccessToken)
    assert_type(await source.aget(), AccessToken)
    assert_type(source.invalidate(source.get()), bool)
    assert_type(source.request, CredentialRequest)
    source.get(min_ttl=30)  # type: ignore[arg-type]  # a lifetime is a timedelta: nobody has to guess the unit


def secrets(reference: SecretReference) -> None:
    assert_type(reference.resolve(), SecretStr)
