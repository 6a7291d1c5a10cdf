"""Binding: which broker, which profile, which access and which kind of FileIO a catalog was loaded with."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from credbroker.broker import Broker
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.files import Files
from credbroker.profile import CatalogProfile
from credbroker.providers._signed_catalog import PROPERTIES as SIGNED
from credbroker.providers._signed_catalog import is_signed
from credbroker.providers.requirements import misconfigured
from credbroker.request import Access
from credbroker.source import CredentialSource

FileIOName = Literal["pyarrow", "fsspec"]
FILE_IOS = {
    "pyarrow": "credbroker.integrations.pyiceberg.BrokerPyArrowFileIO",
    "fsspec": "credbroker.integrations.pyiceberg.BrokerFsspecFileIO",
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Binding:
    """A catalog's tie to its broker. Pickles as references: the broker's, and names."""

    broker: Broker
    catalog: str
    access: Access
    io: FileIOName

    @classmethod
    def of(cls, broker: Broker, catalog: str, access: str, io: str) -> Binding:
        """Check the words. Raises ``ConfigurationError`` that names the one which is none."""
        if access not in (Access.READ, Access.READ_WRITE):
            raise ConfigurationError(
                f"access {access!r} is not possible for a PyIceberg catalog: use 'read', or 'read_write' to write "
                "(a write reads manifests too)"
            )
        if io not in FILE_IOS:
            raise ConfigurationError(f"io {io!r} is no FileIO: use 'pyarrow' or 'fsspec'")
        return cls(broker, catalog, Access(access), cast("FileIOName", io))

    @classmethod
    def from_strings(cls, name: str, words: Mapping[str, Any]) -> Binding:
        """The binding that ``credbroker.*`` properties describe; all of them may be absent.

        Equal configurations share one broker of this process.
        """
        config = words.get("credbroker.config")
        paths = [path for path in str(config).split(os.pathsep) if path] if config else []
        broker = Broker.shared(*paths)
        access, io = words.get("credbroker.access"), words.get("credbroker.io")
        return cls.of(broker, str(words.get("credbroker.catalog") or name), access or Access.READ, io or "pyarrow")

    def profile(self, *types: str) -> CatalogProfile:
        """The catalog's profile. Raises ``ConfigurationError`` unless its type is among ``types``."""
        profile = cast("CatalogProfile", self.broker.profile("catalog", self.catalog))
        if profile.type not in types:
            raise misconfigured(profile, "type", f"is {profile.type!r}: this class is for {' and '.join(types)}")
        return profile

    def uri(self, profile: CatalogProfile) -> str:
        """Where the catalog is. Raises ``ConfigurationError`` where the profile does not say, ``SecretNotFound``."""
        if profile.uri is None:
            raise misconfigured(profile, "uri", "is missing: say where the catalog is")
        if isinstance(profile.uri, str):
            return profile.uri
        return self.broker.resolve(profile.uri).get_secret_value()

    def properties(self, profile: CatalogProfile, passed: Mapping[str, Any]) -> dict[str, Any]:
        """What PyIceberg's catalog is told, without its ``uri``: the profile's tuning, then what was passed on.

        Raises ``ConfigurationError`` for what may not be passed on.
        """
        allowed.refuse_redirects(passed, warehouse=profile.warehouse)
        tuning, others = allowed.from_profile(profile.properties)
        others = [key for key in others if not (is_signed(profile) and key in SIGNED)]
        if others:
            _logger.warning(
                "catalogs.%s.properties: %s not used: a property cannot say where requests go, who asks or which code runs",
                self.catalog,
                ", ".join(others),
            )
        told = {**tuning, **{key: value for key, value in passed.items() if key not in allowed.OURS}}
        if profile.warehouse is not None:
            told[allowed.WAREHOUSE] = profile.warehouse
        return told

    def token_source(self) -> CredentialSource[AccessToken]:
        """The source of the catalog's own bearer token, or of the keys that sign what it is asked."""
        return self.broker.catalog(self.catalog, access=self.access)

    def table_files(self, identifier: tuple[str, ...]) -> Files:
        """The files of a table that the catalog knows: what it vends for it, else its storage profile's."""
        return Files(self.broker, self.catalog, self.access, table=identifier)

    def own_files(self) -> Files:
        """The files of a table bucket, which the catalog's own keys open."""
        return Files(self.broker, self.catalog, self.access, own=True)

    def storage_files(self, *roots: str) -> Files:
        """Files below ``roots``, and any other of the catalog's: by the storage profile that contains them."""
        return Files(self.broker, self.catalog, self.access, roots=roots)
