"""The made Azure with Azurite as its storage account: tokens by the strict servers, keys and enforcement by the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerClient

from credbroker.system.http import SystemHttp
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.entra import LOGIN
from tests.servers.entra_world import AzureWorld

LAKE = f"abfss://azlake@{ACCOUNT}.dfs.core.windows.net"
BLOB = f"https://{ACCOUNT}.blob.core.windows.net"
REFUSED = {401, 403}


class _Owner:
    def __init__(self, azurite: Azurite) -> None:
        self._azurite = azurite

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(self._azurite.bearer(), int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))


def fill(azurite: Azurite) -> None:
    """Make the containers ``azlake`` and ``azpond``, with one object each, where they are not there yet."""
    client = BlobServiceClient(azurite.url, credential=_Owner(azurite), connection_verify=azurite.authority, retry_total=0)
    with client:
        there = {container.name for container in client.list_containers()}
        for container in {"azlake", "azpond"} - there:
            client.create_container(container)
            client.get_blob_client(container, "sales/orders/1").upload_blob(b"1")


@contextmanager
def at_azurite(azurite: Azurite) -> Iterator[AzureWorld]:
    """The world with Azurite as the account, which trusts its certificate."""
    with AzureWorld() as world:
        origins = {**world.http.origins, BLOB: azurite.url}
        world.http = type(world.http)(SystemHttp(ca_file=azurite.authority), origins)
        world.entra.mint = world.identities.mint = lambda _: azurite.bearer()
        yield world


def platform(credentials: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A platform whose profile ``lake`` is the container ``azlake``."""
    lake = {
        "type": "azure",
        "locations": [f"{LAKE}/"],
        "access": "read_write",
        "allow_container_scope": True,
        "credentials": credentials,
        **more,
    }
    return {"storage": {"lake": lake}}


def status(azurite: Azurite, sas: str, operation: str, container: str = "azlake") -> int:
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


class AzureTransport(RequestsTransport):
    """azure-identity's transport, to the server that plays Entra."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def send(self, request: HttpRequest, **options: Any) -> Any:
        parts = urlsplit(request.url)
        assert f"{parts.scheme}://{parts.netloc}" == LOGIN
        request.url = self._target + request.url.removeprefix(LOGIN)
        return super().send(request, **options)
