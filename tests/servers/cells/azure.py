"""``service_account`` on Azure: a SAS at Azurite, and tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from credbroker.credentials import AccessToken, ADLSCredentials
from tests.servers.azurite_world import BLOB, LAKE, REFUSED, AzureTransport, at_azurite, fill, platform, status
from tests.servers.cells.cell import Cell, Scene, Scenes, Stage
from tests.servers.cells.opening import Opening
from tests.servers.counted import Counted
from tests.servers.entra_identities import STORAGE
from tests.servers.entra_world import FILE, AzureWorld

if TYPE_CHECKING:
    from credbroker import Broker
    from tests.servers.azurite import Azurite

KINDS = {
    "client_secret": "client_secret",
    "certificate": "certificate",
    "web_identity variable": "web_identity, file",
    "managed_identity": "managed_identity, IMDS",
    "managed_identity app service": "managed_identity, App Service",
}
_IDENTITY = "wire check: learn.microsoft.com/entra"
PAGES = {
    "client_secret": f"{_IDENTITY}/identity-platform/v2-oauth2-client-creds-grant-flow",
    "certificate": f"{_IDENTITY}/identity-platform/certificate-credentials",
    "web_identity variable": f"{_IDENTITY}/workload-id/workload-identity-federation",
    "managed_identity": f"{_IDENTITY}/identity/managed-identities-azure-resources/how-to-use-vm-token",
    "managed_identity app service": "wire check: learn.microsoft.com/azure/app-service/overview-managed-identity",
}

SDK = {"client_secret": (2,), "web_identity variable": (1,)}
"""What Microsoft's own client takes at the same server. For a certificate it first asks for the authority's other
names, and does not name the certificate by its SHA-256 as Microsoft's page does: neither is played."""
# What a certificate's key signs with.
LOADS = {"certificate": frozenset({"joserfc"})}


def identity(world: AzureWorld, kind: str, stage: Stage) -> dict[str, Any]:
    """The credentials block of the kind, with all that it needs in this process's environment."""
    block = world.identity(kind)
    for name, value in world.kept.secrets.items():
        stage.patch.setenv(name.upper().replace("-", "_"), value)
    token = stage.folder / "azure-identity-token"
    for name, value in world.machine.variables.items():
        stage.patch.setenv(name, str(token) if value == FILE else value)
    if FILE in world.machine.files:
        token.write_text(world.machine.files[FILE])
    return block


def _azure_identity(world: AzureWorld, kind: str, stage: Stage) -> Callable[[], object]:
    """A token by azure-identity."""
    import azure.identity as sdk

    who = {"tenant_id": world.entra.tenant, "client_id": world.entra.client_id}
    transport = AzureTransport(world.entra.uri)

    def get() -> object:
        made: Any
        if kind == "client_secret":
            secret = world.kept.secrets["app"]
            made = sdk.ClientSecretCredential(**who, client_secret=secret, transport=transport)
        else:
            file = stage.folder / "azure-identity-token"
            file.write_text(file.read_text().strip())  # it sends a file as it is
            made = sdk.WorkloadIdentityCredential(**who, token_file_path=str(file), transport=transport)
        with made:
            return made.get_token(f"{STORAGE}/.default")

    return get


def _storage(kind: str) -> Callable[[Stage], AbstractContextManager[Scene]]:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        azurite: Azurite = stage.fixture("azurite")
        fill(azurite)
        with at_azurite(azurite) as world, Counted(azurite.url, azurite.authority) as account:
            config = platform(identity(world, kind, stage))

            def accepted(_: Broker, value: ADLSCredentials) -> None:
                sas = value.sas_token.get_secret_value()
                allowed, refused = ("write", "read") if value.access == "write" else ("read", "write")
                assert status(azurite, sas, allowed) in (200, 201)
                assert status(azurite, sas, refused) in REFUSED
                assert status(azurite, sas, allowed, "azpond") in REFUSED

            def asked() -> int:
                return len(world.entra.asked) + len(world.identities.asked) + len(account.calls)

            origins = {**world.http.origins, BLOB: account.url}
            ask, further = (("storage", "lake", f"{LAKE}/", access) for access in ("read", "write"))
            yield Scene(Opening(config, origins, azurite.authority), ask, asked, accepted, further)

    return set_up


def _token(kind: str) -> Callable[[Stage], AbstractContextManager[Scene]]:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        with AzureWorld() as world:
            block = {**identity(world, kind, stage), "platform": "azure", "scope": f"{STORAGE}/.default"}
            config = {
                "environment": "development",
                "catalogs": {"lake": {"uri": "https://lake.example", "credentials": block}},
            }

            def accepted(_: Broker, value: AccessToken) -> None:
                assert value.value.get_secret_value() in world.good

            def asked() -> int:
                return len(world.entra.asked) + len(world.identities.asked)

            scene = Scene(Opening(config, world.http.origins), ("catalog", "lake"), asked, accepted)
            if kind in SDK:
                scene.sdk = lambda: [_azure_identity(world, kind, stage)]
            yield scene

    return set_up


def _cells() -> list[Cell]:
    cells = []
    for kind, method in KINDS.items():
        sdk, loads = SDK.get(kind, ()), LOADS.get(kind, frozenset())
        mode, made = "service_account", (_storage(kind), loads)
        cells.append(Cell(mode, f"storage: {method}", "azure", f"Azurite; {PAGES[kind]}", (2, 0), ADLSCredentials, *made))
        made = (_token(kind), loads)
        cells.append(Cell(mode, f"catalog: {method}", "azure", PAGES[kind], (1, 1), AccessToken, *made, sdk))
    return cells


CELLS = _cells()
