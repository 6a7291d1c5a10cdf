"""The sections of platform.yaml as they are written: floe's keys and ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from credbroker.config.credentials import CredentialsConfig
from credbroker.config.values import (
    Host,
    Lifetime,
    LocationText,
    Names,
    Property,
    Proxy,
    Reference,
    Text,
    TextOrReference,
    Truth,
)
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access

_BUCKET_SCHEMES = {"s3": "s3", "gcs": "gs"}
_STORES = {"s3": "s3", "gs": "gcs", "abfss": "azure"}


class Section(BaseModel):
    """What all sections have in common."""

    # What is unknown is judged by `keys`, section by section: floe has many keys that are none of ours.
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class ProfileConfig(Section):
    """What every profile may say."""

    credentials: CredentialsConfig | None = None
    max_ttl: Lifetime = timedelta(hours=1)
    allow_insecure: Truth = False
    allow_unscoped: Truth = False
    allow_container_scope: Truth = False
    kms_keys: list[Text] = Field(default_factory=list)
    policy_escapes: Truth | None = None


class StorageConfig(ProfileConfig):
    """A profile under ``storage:``."""

    type: Literal["s3", "gcs", "azure", "local"] | None = None
    endpoint: TextOrReference | None = None
    region: Text | None = None
    bucket: Text | None = None
    locations: list[LocationText] | None = None
    access: Access | None = None
    path_style_access: Truth = False

    def bucket_location(self) -> Location | None:
        """The ``bucket`` of floe as a location; None where it cannot be one (Azure needs the account)."""
        scheme = _BUCKET_SCHEMES.get(self.type or "s3")
        if not self.bucket or scheme is None:
            return None
        try:
            return Location.parse(f"{scheme}://{self.bucket}/")
        except ConfigurationError:
            return None

    def allowed(self) -> tuple[Location, ...]:
        """``locations``, else the ``bucket``: nothing outside is ever asked for."""
        if self.locations is not None:
            return tuple(dict.fromkeys(map(Location.parse, self.locations)))
        bucket = self.bucket_location()
        return (bucket,) if bucket else ()

    def store(self) -> str:
        """``type``, else the kind of store that the locations are on; S3 where there is none, or several."""
        stores = {_STORES[location.scheme] for location in self.allowed()}
        return self.type or (stores.pop() if len(stores) == 1 else "s3")


class CatalogConfig(ProfileConfig):
    """A profile under ``catalogs:``."""

    type: Literal["rest", "polaris", "sql", "glue", "s3tables", "nessie", "hive"] = "rest"
    uri: TextOrReference | None = None
    warehouse: Text | None = None
    storage: Names | None = None
    locations: list[LocationText] | None = None
    access: Access | None = None
    region: Text | None = None
    access_delegation: Literal["vended-credentials", "remote-signing", "none"] = "vended-credentials"
    token_refresh_enabled: Truth = True
    properties: dict[str, Property] = Field(default_factory=dict)


class ComputeConfig(ProfileConfig):
    """A profile under ``compute:``."""

    type: Text | None = None
    region: Text | None = None
    properties: dict[str, Any] = Field(default_factory=dict)


class NetworkConfig(Section):
    """Where issuing calls may go, and how."""

    proxy: Proxy | None = None
    ca_file: Text | None = None
    allowed_hosts: list[Host] | None = None


class AuditConfig(Section):
    """What is recorded, and where."""

    enabled: Truth = True
    sink: Text = "log"
    path: Text | None = None
    key: Reference | None = None
    include: list[Literal["authentication", "authorization", "data_access", "schema_changes"]] | None = None
    required: Truth | None = None
    log_level: Literal["DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"] = "INFO"
