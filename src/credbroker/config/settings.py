"""The platform as the rest of credbroker reads it: plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from credbroker.profile import CatalogProfile, ComputeProfile, StorageProfile
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Where issuing calls may go. ``allowed_hosts`` None allows every host, empty allows none."""

    proxy: str | None = None
    ca_file: str | None = None
    allowed_hosts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """What is recorded. ``required``: without a record there is no credential."""

    enabled: bool = True
    sink: str = "log"
    path: str | None = None
    key: SecretReference | None = None
    include: frozenset[str] = frozenset({"authentication", "authorization", "data_access", "schema_changes"})
    required: bool = True
    log_level: str = "INFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A checked and compiled configuration. It holds no secret.

    ``fingerprint`` is a SHA-256 over all that bears on credentials: the same for a file and a dict of the same content,
    whatever the order of keys, the file's name or floe's own sections.
    """

    catalogs: Mapping[str, CatalogProfile] = field(default_factory=dict)
    storage: Mapping[str, StorageProfile] = field(default_factory=dict)
    compute: Mapping[str, ComputeProfile] = field(default_factory=dict)
    environment: str = "production"
    production: bool = True
    principal: str | None = None
    network: NetworkSettings = NetworkSettings()
    secret_backends: tuple[BackendSettings, ...] = ()
    """In the order in which they are asked."""
    plugins: tuple[str, ...] = ()
    audit: AuditSettings = AuditSettings()
    observability: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
