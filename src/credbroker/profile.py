"""A profile's plain frozen values: ``config/`` builds them, everything below reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from credbroker.location import Location
from credbroker.request import Access, Kind

if TYPE_CHECKING:
    from credbroker.secrets.reference import SecretReference


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectToken:
    """Where a token that is exchanged (RFC 8693), or shown as an assertion (RFC 7523), comes from: exactly one of these."""

    file: str | None = None
    secret: SecretReference | None = None
    profile: tuple[Kind, str] | None = None
    """The other profile's section and name."""
    url: str | None = None
    """Asked with ``headers`` (a secret holds a whole value); of a JSON answer ``field`` picks, any other is the token."""
    headers: Mapping[str, str | SecretReference] = dataclasses.field(default_factory=dict)
    field: str | None = None
    aws: str | None = None
    """The ``credential_source`` of AWS keys that sign it (Google's workload identity federation with AWS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings:
    """The ``credentials:`` block of a profile. Which fields matter is the provider's to know and to check at use."""

    mode: str
    timeout: timedelta = timedelta(seconds=10)
    """The whole flight, whatever it does."""
    default_ttl: timedelta | None = None
    """The life of a token whose issuer states none."""
    reread_interval: timedelta = timedelta(seconds=60)
    """How often a static secret is read again."""

    secret_ref: SecretReference | None = None

    token_url: str | None = None
    client_id: str | SecretReference | None = None
    client_secret: SecretReference | None = None
    scope: str | None = None
    scopes: Mapping[Access, str] = field(default_factory=dict)
    audience: str | None = None
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105 - RFC 7591's name of a method
    basic_encoding: Literal["rfc6749", "raw"] = "rfc6749"
    private_key: SecretReference | None = None
    key_id: str | None = None
    signing_alg: str | None = None
    certificate: str | SecretReference | None = None
    """A text is the path of a PEM file: a certificate is no secret."""
    certificate_key: SecretReference | None = None
    grant_type: str = "client_credentials"
    subject_token: SubjectToken | None = None
    subject_token_type: str | None = None
    resource: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    issuer: str | None = None
    revocation_url: str | None = None
    realm: str | None = None

    role_arn: str | None = None
    external_id: str | None = None
    credential_source: str | None = None
    sts_endpoint: str | None = None
    source_profile: tuple[Kind, str] | None = None
    """Another profile, whose credential is the base identity."""
    source_identity: str | None = None
    session_tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tag_keys: tuple[str, ...] = ()
    session_run: bool = False
    """Whether the run's id is written into the session, so that two runs share none."""

    platform: Literal["gcp", "azure", "kubernetes"] | None = None
    """Whose service account it is, where the profile's type does not say it."""
    key: SecretReference | None = None
    service_account: str | None = None
    """The e-mail address of the account to impersonate."""
    delegates: tuple[str, ...] = ()
    tenant_id: str | None = None
    client_assertion: SubjectToken | None = None

    options: Mapping[str, object] = field(default_factory=dict)
    """What stands beside the known keys in the block of a plug-in's mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What every profile has. ``where`` is the file and line it came from, for error texts."""

    name: str
    kind: Kind
    where: str = field(default="", repr=False, compare=False)
    production: bool = True
    credentials: CredentialSettings | None = None
    max_ttl: timedelta = timedelta(hours=1)
    locations: tuple[Location, ...] = ()
    """Nothing outside is ever asked for."""
    access: Access = Access.READ
    """The most that may be asked."""
    region: str | None = None
    endpoint: str | SecretReference | None = None
    path_style_access: bool = False
    allow_insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    """``network.allowed_hosts``: where a server's word (a vended endpoint, a discovered one) may lead beyond its own host,
    and beyond what the profile names (``*.`` is any host below)."""

    def fingerprint(self) -> str:
        """A hash over every setting: two profiles with the same one issue interchangeable credentials."""
        import hashlib

        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageProfile(Profile):
    """A section under ``storage:``."""

    kind: Kind = "storage"
    type: str = "s3"
    allow_unscoped: bool = False
    allow_container_scope: bool = False
    kms_keys: tuple[str, ...] = ()
    policy_escapes: bool | None = None
    """Whether the store knows ``${*}``; without it a location with a wildcard is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogProfile(Profile):
    """A section under ``catalogs:``. An absent ``access`` here limits nothing: what may be done is the catalog's to say."""

    kind: Kind = "catalog"
    type: str = "rest"
    locations_stated: bool = False
    """Whether the file itself says ``locations``: an empty list allows nothing, none at all leaves it to ``storage``."""
    uri: str | SecretReference | None = None
    warehouse: str | None = None
    storage: tuple[StorageProfile, ...] = ()
    """The storage profiles whose credentials data files use when the catalog vends none."""
    access_delegation: Literal["vended-credentials", "remote-signing", "none"] = "vended-credentials"
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeProfile(Profile):
    """A section under ``compute:``."""

    kind: Kind = "compute"
    type: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
