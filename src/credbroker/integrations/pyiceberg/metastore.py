"""What a catalog has in common that keeps pointers to tables and nothing else: their files are the storage profiles'.

Nothing but this class stands between a pipeline that was to read and what such a catalog writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from credbroker.integrations.pyiceberg.binding import Binding
from credbroker.integrations.pyiceberg.fileio import file_io
from credbroker.integrations.pyiceberg.files import Files
from credbroker.integrations.pyiceberg.roots import check_location_provider, check_roots, folders_of, roots_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import PropertiesUpdateSummary
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table import CommitTableResponse

AnyTable = TypeVar("AnyTable", bound=Table)


class BrokerMetastore(MetastoreCatalog):
    """Stands before PyIceberg's class for a kind of metastore, which does the work.

    Each table's files use the storage profile that contains its location. What ``super()`` is here is that class's own, and
    none of the abstract ones.
    """

    _binding: Binding
    _files: Files

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
        return super().create_table(identifier, schema, location, partition_spec, sort_order, properties)  # type: ignore[safe-super]

    def purge_table(self, identifier: str | Identifier) -> None:
        """Drop the table and delete its files; ``AccessDenied``, and nothing done, where the catalog was loaded to read."""
        self._files.need_write()
        with self._files.rooted(*roots_of(self.load_table(identifier).metadata)):
            super().purge_table(identifier)

    def drop_table(self, identifier: str | Identifier) -> None:
        """Drop the table; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().drop_table(identifier)  # type: ignore[safe-super]

    def rename_table(self, from_identifier: str | Identifier, to_identifier: str | Identifier) -> Table:
        """Rename the table; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().rename_table(from_identifier, to_identifier)  # type: ignore[safe-super]

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """Create the namespace; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().create_namespace(namespace, properties)  # type: ignore[safe-super]

    def drop_namespace(self, namespace: str | Identifier) -> None:
        """Drop the namespace; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        super().drop_namespace(namespace)  # type: ignore[safe-super]

    def update_namespace_properties(self, *args: Any, **kwargs: Any) -> PropertiesUpdateSummary:
        """Change the namespace's properties; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().update_namespace_properties(*args, **kwargs)  # type: ignore[safe-super]

    def register_table(self, *args: Any, **kwargs: Any) -> Table:
        """Take a table in by its metadata; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().register_table(*args, **kwargs)  # type: ignore[safe-super]

    def commit_table(self, *args: Any, **kwargs: Any) -> CommitTableResponse:
        """Commit; ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return super().commit_table(*args, **kwargs)  # type: ignore[safe-super]
