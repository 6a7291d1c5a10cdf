"""``service_account`` on Azure from the first request to the last, at Azurite, Microsoft's emulator of the blob service.

Entra is a strict server of ours; the tokens that it gives are of the shape that Azurite takes (issuer, audience and times
are checked by it), the user delegation keys and the enforcement of each SAS are Azurite's own. It emulates an account
without a hierarchical namespace: that a directory SAS opens that directory alone is proved in
``tests/unit/providers/test_service_account_azure.py``, against Microsoft's signer and rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from azure.identity import ClientSecretCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.entra import LOGIN
from tests.servers.entra_identities import STORAGE
from tests.servers.entra_world import AzureWorld

from credbroker import Broker
from credbroker.credentials import ADLSCredentials
from credbroker.errors import IssueDenied
from credbroker.system.http import SystemHttp

LAKE = f"abfss://azlake@{ACCOUNT}.dfs.core.windows.net"
BLOB = f"https://{ACCOUNT}.blob.core.windows.net"
REFUSED = {401, 403}


class _Owner:
    def __init__(self, azurite: Azurite) -> None:
        self._azurite = azurite

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(self._azurite.bearer(), int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))


@pytest.fixture(scope="module")
def _filled(azurite: Azurite) -> None:
    client = BlobServiceClient(azurite.url, credential=_Owner(azurite), connection_verify=azurite.authority, retry_total=0)
    with client:
        for container in ("azlake", "azpond"):
            client.create_container(container)
            client.get_blob_client(container, "sales/orders/1").upload_blob(b"1")


@pytest.fixture
def azure(azurite: Azurite, _filled: None) -> Iterator[AzureWorld]:
    """The world with Azurite as the account, which trusts its certificate."""
    with AzureWorld() as world:
        origins = {**world.http.origins, BLOB: azurite.url}
        world.http = type(world.http)(SystemHttp(ca_file=azurite.authority), origins)
        world.entra.mint = world.identities.mint = lambda _: azurite.bearer()
        yield world


def _platform(credentials: dict[str, Any], **more: Any) -> dict[str, Any]:
    lake = {
        "type": "azure",
        "locations": [f"{LAKE}/"],
        "access": "read_write",
        "allow_container_scope": True,
        "credentials": credentials,
        **more,
    }
    return {"storage": {"lake": lake}}


def _sas(broker: Broker, access: str = "read", location: str = f"{LAKE}/") -> str:
    value = broker.storage("lake", location, access=access).get()
    assert isinstance(value, ADLSCredentials)
    return value.sas_token.get_secret_value()


def _status(azurite: Azurite, sas: str, operation: str, container: str = "azlake") -> int:
    """What the server answers to the holder of that SAS."""
    with ContainerClient(
        azurite.url, container, credential=AzureSasCredential(sas), connection_verify=azurite.authority, retry_total=0
    ) as client:
        blob = client.get_blob_client("sales/orders/1")
        calls = {
            "read": lambda: blob.download_blob().readall(),
            "list": lambda: list(client.list_blobs()),
            "write": lambda: blob.upload_blob(b"2", overwrite=True),
            "drop": client.delete_container,
        }
        try:
            calls[operation]()
        except HttpResponseError as error:
            return error.status_code or 0
        return 200


@pytest.mark.parametrize(
    "kind",
    ["client_secret", "certificate", "web_identity variable", "managed_identity", "managed_identity app service"],
)
def test_from_the_identity_to_the_object_and_no_further(azurite: Azurite, azure: AzureWorld, kind: str) -> None:
    with azure.broker(_platform(azure.identity(kind))) as broker:
        reading, writing = _sas(broker), _sas(broker, "write")
    assert {name: _status(azurite, reading, name) for name in ("read", "list")} == {"read": 200, "list": 200}
    assert {_status(azurite, reading, name) for name in ("write", "drop")} <= REFUSED
    assert _status(azurite, writing, "write") == 200 or _status(azurite, writing, "write") == 201
    assert _status(azurite, writing, "read") in REFUSED
    for sas in (reading, writing):
        assert {_status(azurite, sas, name, "azpond") for name in ("read", "list", "write", "drop")} <= REFUSED
    assert [request.url.partition("?")[0] for request in azure.http.asked[1:]] == [f"{BLOB}/"]


def test_a_directory_is_asked_as_a_directory_and_a_flat_account_opens_nothing_for_it(
    azurite: Azurite, azure: AzureWorld
) -> None:
    with azure.broker(_platform(azure.identity("client_secret"), allow_container_scope=False)) as broker:
        sas = _sas(broker, "read_write", f"{LAKE}/sales/orders")
    assert "sr=d&sdd=2" in sas
    assert {_status(azurite, sas, name) for name in ("read", "list", "write", "drop")} <= REFUSED


def test_it_ends_at_the_server_when_the_value_says(azurite: Azurite, azure: AzureWorld) -> None:
    with azure.broker(_platform(azure.identity("client_secret"), max_ttl="4s")) as broker:
        value = broker.storage("lake", f"{LAKE}/").get()
    assert isinstance(value, ADLSCredentials)
    assert value.expires_at is not None
    sas, refused_at = value.sas_token.get_secret_value(), None
    assert _status(azurite, sas, "read") == 200
    while refused_at is None and datetime.now(UTC) < value.expires_at + timedelta(seconds=10):
        refused_at = None if _status(azurite, sas, "read") == 200 else datetime.now(UTC)
    assert refused_at is not None
    assert refused_at >= value.expires_at


def test_many_values_of_one_account_take_two_requests_in_all(azurite: Azurite, azure: AzureWorld) -> None:
    with azure.broker(_platform(azure.identity("client_secret"), allow_container_scope=False)) as broker:
        made = {_sas(broker, access, f"{LAKE}/{n}") for n in range(50) for access in ("read", "write")}
    assert len(made) == 100
    assert [request.method for request in azure.http.asked] == ["POST", "POST"]


def test_a_token_that_the_account_does_not_take_is_told_after_one_more(azurite: Azurite, azure: AzureWorld) -> None:
    azure.entra.mint = lambda _: azurite.bearer(lifetime=timedelta(minutes=-5))
    with (
        azure.broker(_platform(azure.identity("client_secret"))) as broker,
        pytest.raises(IssueDenied, match=r"HTTP 40[13]"),
    ):
        broker.storage("lake", f"{LAKE}/").get()
    assert not any(BLOB in request.url for request in azure.http.asked[4:])


class _Rerouted(RequestsTransport):
    """azure-identity's transport, to the server that plays Entra."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def send(self, request: HttpRequest, **options: Any) -> Any:
        parts = urlsplit(request.url)
        assert f"{parts.scheme}://{parts.netloc}" == LOGIN
        request.url = self._target + request.url.removeprefix(LOGIN)
        return super().send(request, **options)


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
        transport=_Rerouted(azure.entra.uri),
    ) as credential:
        theirs = credential.get_token(f"{STORAGE}/.default")
    assert theirs.token
    assert ours.value.get_secret_value()
    assert [str(asked).partition(" ")[0] for asked in azure.entra.asked] == ["GET", "POST"]
