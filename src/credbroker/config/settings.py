"""The platform as the rest of credbroker reads it: plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from credbroker.location import Location
from credbroker.profile import CatalogProfile, ComputeProfile, StorageProfile
from credbroker.request import Access, Kind
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
class FileSettings:
    """One file that the sidecar keeps up to date."""

    path: str
    """Relative to ``files`` in the sidecar's directory."""
    form: Literal["token", "aws-credentials", "template"]
    template: str | None = None
    """The absolute path of the template (``string.Template``), with form ``template`` alone."""
    profile: str = "default"
    """The section of an AWS shared credentials file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChange:
    """What is done after each change of a binding's files: a signal, or a command."""

    signal: str | None = None
    """Without ``SIG``: HUP, USR1, USR2, TERM, INT or WINCH."""
    pid_file: str | None = None
    command: tuple[str, ...] = ()
    """An absolute path and its arguments. No shell reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingSettings:
    """A name under which the sidecar serves one credential. Everything in it lies within what its profile allows."""

    name: str
    where: str = field(default="", repr=False, compare=False)
    """File and line, for error texts."""
    kind: Kind
    profile: str
    table: tuple[str, ...] | None = None
    locations: tuple[Location, ...] = ()
    access: Access = Access.READ
    scope: str | None = None
    audience: str | None = None
    protocols: tuple[str, ...] = ()
    files: tuple[FileSettings, ...] = ()
    on_change: OnChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """The ``sidecar:`` section: what ``credbroker sidecar`` does. It changes nothing about the credentials themselves."""

    where: str = field(default="", repr=False, compare=False)
    """File and line, for error texts."""
    directory: str | None = None
    """Absolute. None is for the sidecar to choose."""
    listen_host: str = "127.0.0.1"
    """A loopback address, IPv6 without brackets."""
    listen_port: int = 8642
    """0 is any free port."""
    reader_uids: tuple[int, ...] = ()
    """Who may ask besides the sidecar's own user."""
    reader_group: int | str | None = None
    """The group that may read the token files."""
    rotate_tokens: timedelta | None = None
    """How long a token is handed out; None is as long as the sidecar lives."""
    requests_per_second: int = 2000
    """For each peer."""
    bindings: Mapping[str, BindingSettings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A checked and compiled configuration. It holds no secret.

    ``fingerprint`` is a SHA-256 over all that bears on credentials: the same for a file and a dict of the same content,
    whatever the order of keys, the file's name, the sidecar or floe's own sections.
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
    sidecar: SidecarSettings | None = None
    fingerprint: str
    paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
