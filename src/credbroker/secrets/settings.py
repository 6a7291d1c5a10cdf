"""A backend's plain frozen values: ``config/`` builds them, the backends read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from credbroker.errors import ConfigurationError
from credbroker.secrets.reference import SecretReference


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLogin:
    """The ``auth:`` of a backend. Which fields matter is its method's to know."""

    method: str
    role: str | None = None
    mount: str | None = None
    token: SecretReference | None = None
    role_id: str | SecretReference | None = None
    secret_id: SecretReference | None = None
    jwt: SecretReference | None = None
    path: str | None = None
    key: SecretReference | None = None
    audience: str | None = None
    tenant_id: str | None = None
    client_id: str | SecretReference | None = None
    client_secret: SecretReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """One entry of ``secret_backends``. Which fields matter is its type's to know."""

    type: str
    where: str = field(default="secret_backends", compare=False)
    """File, line and entry: ``platform.yaml:3: secret_backends[0]``."""
    path: str | None = None
    address: str | None = None
    mount: str | None = None
    dynamic_mount: str | None = None
    namespace: str | None = None
    prefix: str = ""
    auth: BackendLogin | None = None
    region: str | None = None
    endpoint: str | None = None
    kms_endpoint: str | None = None
    credential_source: str | None = None
    project: str | None = None
    table: str | None = None
    key_id: str | None = None
    encryption_context: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    """What a plug-in's entry says beside the known keys."""

    def misconfigured(self, fault: str) -> ConfigurationError:
        """The error for this entry, with its place in the file; ``fault`` begins with the key that is wrong."""
        return ConfigurationError(f"{self.where}: {fault}")
