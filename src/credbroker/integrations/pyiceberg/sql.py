"""BrokerSqlCatalog: PyIceberg's SQL catalog, with the broker's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.binding import FILE_IOS, Binding
from credbroker.integrations.pyiceberg.fileio import file_io
from credbroker.integrations.pyiceberg.files import PROPERTY, Files
from credbroker.integrations.pyiceberg.roots import check_location_provider, check_roots, folders_of, roots_of
from credbroker.integrations.pyiceberg.strings import binding_and_passed
from credbroker.profile import CatalogProfile
from credbroker.providers.requirements import misconfigured

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import PropertiesUpdateSummary
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table import CommitTableResponse

AnyTable = TypeVar("AnyTable", bound=Table)


class BrokerSqlCatalog(SqlCatalog):
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

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        # A table's properties stay out: anyone who may alter the table writes them.
        return self._file_io(self._files)

    def _file_io(self, files: Files) -> FileIO:
        return file_io(self._binding.io, files, self.properties)

    def _rooted(self, table: AnyTable) -> AnyTable:
        check_location_provider(table.metadata, self._binding.access)
        table.io = self._file_io(self._files_below(*roots_of(table.metadata)))
        return table

    def _files_below(self, *roots: str) -> Files:
        files = self._binding.storage_files(*roots)
        check_roots(roots, self._binding)
        return files

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        return self._rooted(super()._convert_orm_to_iceberg(orm_table))

    def _create_staged_table(self, *args: Any, **kwargs: Any) -> StagedTable:
        return self._rooted(super()._create_staged_table(*args, **kwargs))

    def _update_and_stage_table(self, *args: Any, **kwargs: Any) -> StagedTable:
        return self._rooted(super()._update_and_stage_table(*args, **kwargs))

    def create_table(  # noqa: PLR0917 - the signature is PyIceberg's
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Create the table; ``AccessDenied``, and nothing done, where a property would have files outside the profile."""
        self._files_below(*folders_of(properties))
        return super().create_table(identifier, schema, location, partition_spec, sort_order, properties)

    def purge_table(self, identifier: str | Identifier) -> None:
        """Drop the table and delete its files; ``AccessDenied``, and nothing done, where the catalog was loaded to read."""
        self._files.need_write()
        with self._files.rooted(*roots_of(self.load_table(identifier).metadata)):
            super().purge_table(identifier)

    # Nothing but us stands between a pipeline that was to read and the database's rows.

    def drop_table(self, identifier: str | Identifier) -> None:
        """Drop the table; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().drop_table(identifier)

    def rename_table(self, from_identifier: str | Identifier, to_identifier: str | Identifier) -> Table:
        """Rename the table; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().rename_table(from_identifier, to_identifier)

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """Create the namespace; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().create_namespace(namespace, properties)

    def drop_namespace(self, namespace: str | Identifier) -> None:
        """Drop the namespace; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().drop_namespace(namespace)

    def update_namespace_properties(self, *args: Any, **kwargs: Any) -> PropertiesUpdateSummary:
        """Change the namespace's properties; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().update_namespace_properties(*args, **kwargs)

    def register_table(self, *args: Any, **kwargs: Any) -> Table:
        """Take a table in by its metadata; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().register_table(*args, **kwargs)

    def commit_table(self, *args: Any, **kwargs: Any) -> CommitTableResponse:
        """Commit; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().commit_table(*args, **kwargs)

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
