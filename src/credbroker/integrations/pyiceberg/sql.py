"""BrokerSqlCatalog: PyIceberg's SQL catalog, with the broker's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.binding import FILE_IOS, Binding
from credbroker.integrations.pyiceberg.files import PROPERTY
from credbroker.integrations.pyiceberg.metastore import BrokerMetastore
from credbroker.integrations.pyiceberg.strings import binding_and_passed
from credbroker.profile import CatalogProfile
from credbroker.providers.requirements import misconfigured

if TYPE_CHECKING:
    from pyiceberg.table import Table


class BrokerSqlCatalog(BrokerMetastore, SqlCatalog):
    """Loads from a profile of ``type: sql``, whose ``uri`` is SQLAlchemy's. Made by ``load_catalog`` or ``py-catalog-impl``.

    Each table's files use the storage profile that contains its location. Raises ``ConfigurationError`` for what may not be
    passed on, ``AccessDenied`` for a table that no storage profile of the catalog's contains.
    """

    def __init__(self, name: str, *, binding: Binding | None = None, **properties: Any) -> None:
        self._binding, passed = binding_and_passed(name, binding, properties)
        profile = self._profile()
        told = self._binding.properties(profile, passed)
        uri = self._checked_uri(profile)
        self._files = self._binding.storage_files()
        # PyIceberg makes some of its FileIOs from the catalog's properties, by this name.
        made_of = {allowed.FILE_IO: FILE_IOS[self._binding.io], PROPERTY: self._files}
        try:
            # Its rows are keyed by name: by the profile's, so that two ways of loading one profile see one catalog.
            super().__init__(self._binding.catalog, **{**told, **made_of, allowed.URI: uri})
        except ArgumentError:
            raise _no_database(profile) from None
        # A database's URI may hold a password. The engine has it by now, and shows it to nobody.
        del self.properties[allowed.URI]
        if isinstance(profile.uri, str):
            self.properties[allowed.URI] = make_url(uri).render_as_string(hide_password=True)

    def _profile(self) -> CatalogProfile:
        return self._binding.profile("sql")

    def _checked_uri(self, profile: CatalogProfile) -> str:
        uri = self._binding.uri(profile)
        try:
            make_url(uri)
        except ArgumentError:
            raise _no_database(profile) from None
        return uri

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        return self._rooted(super()._convert_orm_to_iceberg(orm_table))

    def _connect(self) -> Engine:
        echo = str(self.properties.get("echo", "false")).lower()
        pre_ping = str(self.properties.get("pool_pre_ping", "false")).lower()
        return create_engine(
            self._checked_uri(self._profile()),
            echo="debug" if echo == "debug" else echo in ("true", "1"),
            pool_pre_ping=pre_ping in ("true", "1"),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # The database is where this process's own configuration says, with the password that it resolves.
        self.engine = self._connect()


def _no_database(profile: CatalogProfile) -> ConfigurationError:
    return misconfigured(profile, "uri", "is no database URL that SQLAlchemy can use, such as postgresql://host/database")
