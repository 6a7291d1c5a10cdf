"""``service_account`` on Azure from the first request to the last, at Azurite, Microsoft's emulator of the blob service.

Entra is a strict server of ours; the tokens that it gives are of the shape that Azurite takes (issuer, audience and times
are checked by it), the user delegation keys and the enforcement of each SAS are Azurite's own. It emulates an account
without a hierarchical namespace: that a directory SAS opens that directory alone is proved in
``tests/unit/providers/test_service_account_azure.py``, against Microsoft's signer and rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.identity import ClientSecretCredential
from tests.servers.azurite_world import BLOB, LAKE, REFUSED, AzureTransport, at_azurite, fill, platform, status
from tests.servers.entra_identities import STORAGE

from credbroker import Broker
from credbroker.credentials import ADLSCredentials
from credbroker.errors import IssueDenied

if TYPE_CHECKING:
    from tests.servers.azurite import Azurite
    from tests.servers.entra_world import AzureWorld


@pytest.fixture(scope="module")
def _filled(azurite: Azurite) -> None:
    fill(azurite)


@pytest.fixture
def azure(azurite: Azurite, _filled: None) -> Iterator[AzureWorld]:
    with at_azurite(azurite) as world:
        yield world


def _sas(broker: Broker, access: str = "read", location: str = f"{LAKE}/") -> str:
    value = broker.storage("lake", location, access=access).get()
    assert isinstance(value, ADLSCredentials)
    return value.sas_token.get_secret_value()


@pytest.mark.parametrize(
    "kind",
    ["client_secret", "certificate", "web_identity variable", "managed_identity", "managed_identity app service"],
)
def test_from_the_identity_to_the_object_and_no_further(azurite: Azurite, azure: AzureWorld, kind: str) -> None:
    with azure.broker(platform(azure.identity(kind))) as broker:
        reading, writing = _sas(broker), _sas(broker, "write")
    assert {name: status(azurite, reading, name) for name in ("read", "list")} == {"read": 200, "list": 200}
    assert {status(azurite, reading, name) for name in ("write", "drop")} <= REFUSED
    assert status(azurite, writing, "write") == 200 or status(azurite, writing, "write") == 201
    assert status(azurite, writing, "read") in REFUSED
    for sas in (reading, writing):
        assert {status(azurite, sas, name, "azpond") for name in ("read", "list", "write", "drop")} <= REFUSED
    assert [request.url.partition("?")[0] for request in azure.http.asked[1:]] == [f"{BLOB}/"]


def test_a_directory_is_asked_as_a_directory_and_a_flat_account_opens_nothing_for_it(
    azurite: Azurite, azure: AzureWorld
) -> None:
    with azure.broker(platform(azure.identity("client_secret"), allow_container_scope=False)) as broker:
        sas = _sas(broker, "read_write", f"{LAKE}/sales/orders")
    assert "sr=d&sdd=2" in sas
    assert {status(azurite, sas, name) for name in ("read", "list", "write", "drop")} <= REFUSED


def test_it_ends_at_the_server_when_the_value_says(azurite: Azurite, azure: AzureWorld) -> None:
    with azure.broker(platform(azure.identity("client_secret"), max_ttl="4s")) as broker:
        value = broker.storage("lake", f"{LAKE}/").get()
    assert isinstance(value, ADLSCredentials)
    assert value.expires_at is not None
    sas, refused_at = value.sas_token.get_secret_value(), None
    assert status(azurite, sas, "read") == 200
    while refused_at is None and datetime.now(UTC) < value.expires_at + timedelta(seconds=10):
        refused_at = None if status(azurite, sas, "read") == 200 else datetime.now(UTC)
    assert refused_at is not None
    assert refused_at >= value.expires_at


def test_many_values_of_one_account_take_two_requests_in_all(azurite: Azurite, azure: AzureWorld) -> None:
    with azure.broker(platform(azure.identity("client_secret"), allow_container_scope=False)) as broker:
        made = {_sas(broker, access, f"{LAKE}/{n}") for n in range(50) for access in ("read", "write")}
    assert len(made) == 100
    assert [request.method for request in azure.http.asked] == ["POST", "POST"]


def test_a_token_that_the_account_does_not_take_is_told_after_one_more(azurite: Azurite, azure: AzureWorld) -> None:
    azure.entra.mint = lambda _: azurite.bearer(lifetime=timedelta(minutes=-5))
    with (
        azure.broker(platform(azure.identity("client_secret"))) as broker,
        pytest.raises(IssueDenied, match=r"HTTP 40[13]"),
    ):
        broker.storage("lake", f"{LAKE}/").get()
    assert not any(BLOB in request.url for request in azure.http.asked[4:])


def test_a_token_costs_one_request_and_microsofts_own_client_takes_two(azure: AzureWorld) -> None:
    block = {**azure.identity("client_secret"), "platform": "azure", "scope": f"{STORAGE}/.default"}
    with azure.broker({"compute": {"any": {"credentials": block}}}) as broker:
        ours = broker.compute("any").get()
    assert [str(asked).partition(" ")[0] for asked in azure.entra.asked] == ["POST"]
    azure.entra.asked.clear()
    with ClientSecretCredential(
        azure.entra.tenant,
        azure.entra.client_id,
        min(azure.entra.client_secrets),
        transport=AzureTransport(azure.entra.uri),
    ) as credential:
        theirs = credential.get_token(f"{STORAGE}/.default")
    assert theirs.token
    assert ours.value.get_secret_value()
    assert [str(asked).partition(" ")[0] for asked in azure.entra.asked] == ["GET", "POST"]
