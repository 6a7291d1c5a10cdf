"""Azure as far as a broker meets it: Entra, one account's keys and a machine's identities: strict servers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from credbroker import Broker
from credbroker.context import Clock, Context
from credbroker.secrets.backend import Lookup, lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import Resolver
from credbroker.system.clock import SystemClock
from credbroker.system.http import SystemHttp
from tests.servers.entra import LOGIN, EntraTokens
from tests.servers.entra_identities import STORAGE, ManagedIdentities
from tests.servers.entra_storage import BlobService
from tests.servers.rerouted import Rerouted

if TYPE_CHECKING:
    from tests.servers.strict import StrictServer

LAKE = "abfss://lake@acme.dfs.core.windows.net"
POSTGRES = "https://ossrdbms-aad.database.windows.net"
IMDS = "http://169.254.169.254"
FILE = "/var/run/secrets/azure/tokens/azure-identity-token"


@dataclass
class Machine:
    """Variables and files, and nothing else of this process."""

    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path].encode()

    def names(self, path: str) -> None:
        return None


@dataclass
class Kept:
    """A backend of secrets."""

    secrets: dict[str, str] = field(default_factory=dict)

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        text = self.secrets.get(reference.secret_ref)
        return Lookup("kept") if text is None else lookup("kept", text, reference.field)


class AzureWorld:
    """A context manager: the servers run inside the block, and each checks every request."""

    def __init__(self) -> None:
        self.entra, self.identities = EntraTokens(), ManagedIdentities()
        self.entra.resources = (STORAGE, POSTGRES, "https://api.fabric.microsoft.com")
        self.blob, self.other = BlobService(self._is_good), BlobService(self._is_good)
        self.machine, self.kept = Machine(), Kept()
        self.good: set[str] = set()
        self.entra.mint = self.identities.mint = self._mint
        self.http = Rerouted(SystemHttp(), {})
        self._running = ExitStack()

    def __enter__(self) -> Self:
        for server in self.servers:
            self._running.enter_context(server)
        self.http.origins |= {
            LOGIN: self.entra.uri,
            IMDS: self.identities.uri,
            "https://acme.blob.core.windows.net": self.blob.uri,
            "https://other.blob.core.windows.net": self.other.uri,
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._running.__exit__(kind, value, trace)

    @property
    def servers(self) -> tuple[StrictServer, ...]:
        return (self.entra, self.identities, self.blob, self.other)

    @property
    def requests(self) -> list[str]:
        """Method and URL of all that was sent, without the query."""
        return [f"{request.method} {request.url.partition('?')[0]}" for request in self.http.asked]

    def broker(self, config: Mapping[str, Any], *, clock: Clock | None = None) -> Broker:
        context = Context(
            clock=clock or SystemClock(),
            http=self.http,
            environment=self.machine,
            secrets=Resolver([self.kept], Context(environment=self.machine)),
        )
        return Broker.from_config(config, context=context)

    def identity(self, kind: str) -> dict[str, Any]:
        """The credentials block of one kind of identity, with all that it needs in place."""
        application = {"tenant_id": self.entra.tenant, "client_id": self.entra.client_id}
        source, _, variant = kind.partition(" ")
        block: dict[str, Any] = {"mode": "service_account", "credential_source": source}
        if source == "client_secret":
            self.kept.secrets["app"] = min(self.entra.client_secrets)
            return {**block, **application, "client_secret": {"secret_ref": "app"}}
        if source == "certificate":
            self.kept.secrets["cert"], self.kept.secrets["cert-key"], registered = certificate()
            self.entra.certificates.append(registered)
            pair = {"certificate": {"secret_ref": "cert"}, "certificate_key": {"secret_ref": "cert-key"}}
            return {**block, **application, **pair, **({"signing_alg": variant} if variant else {})}
        if source == "web_identity":
            self.machine.files[FILE] = self.entra.federated_token() + "\n"
            if variant == "variable":
                self.machine.variables["AZURE_FEDERATED_TOKEN_FILE"] = FILE
                return {**block, **application}
            return {**block, **application, "subject_token": {"file": FILE}}
        if variant == "app service":
            self.machine.variables |= self.identities.app_service
        return {**block, **({"client_id": self.identities.user_assigned} if variant == "user" else {})}

    def _mint(self, resource: str) -> str:
        token = f"eyJ.{len(self.good)}.canary"
        self.good.add(token)
        return token

    def _is_good(self, token: str) -> bool:
        return token in self.good


def storage(credentials: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A platform whose profile ``lake`` is below two directories."""
    lake = {
        "type": "azure",
        "locations": [f"{LAKE}/sales", f"{LAKE}/finance"],
        "access": "read_write",
        "credentials": credentials,
        **more,
    }
    return {"environment": "development", "storage": {"lake": lake}}


def certificate() -> tuple[str, str, x509.Certificate]:
    """A new certificate and its key in PEM, and the certificate itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pipeline")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode(), made
