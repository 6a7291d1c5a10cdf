"""The table of the demonstration: many small files, one a partition, so that a scan opens one file after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_DAY, _ORDER, _AMOUNT = 1, 2, 3
_FIRST_PARTITION_FIELD = 1000  # where the specification lets the ids of partition fields begin


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is: ``files`` data files of ``rows_per_file`` rows."""

    files: int
    rows_per_file: int

    @property
    def rows(self) -> int:
        """All rows."""
        return self.files * self.rows_per_file


def write(catalog: Catalog, identifier: str, size: Size) -> Table:
    """Create the table with its namespace, write its files and commit them."""
    catalog.create_namespace_if_not_exists(identifier.rpartition(".")[0])
    schema = Schema(
        NestedField(_DAY, "day", IntegerType(), required=False),
        NestedField(_ORDER, "order_id", LongType(), required=False),
        NestedField(_AMOUNT, "amount", DoubleType(), required=False),
    )
    by_day = PartitionSpec(PartitionField(_DAY, _FIRST_PARTITION_FIELD, IdentityTransform(), "day"))
    table = catalog.create_table(identifier, schema=schema, partition_spec=by_day)
    table.append(_rows(size))
    return table


def _rows(size: Size) -> pa.Table:
    numbers = range(size.rows)
    return pa.table(
        {
            "day": pa.array([number // size.rows_per_file for number in numbers], pa.int32()),
            "order_id": pa.array(numbers, pa.int64()),
            "amount": pa.array([number / 100 for number in numbers], pa.float64()),
        }
    )


def scan(table: Table, on_rows: Callable[[int], None]) -> int:
    """Read every row and return how many different orders came; ``on_rows`` is told the count after each batch."""
    seen: set[int] = set()
    for batch in table.scan().to_arrow_batch_reader():
        seen.update(batch.column("order_id").to_pylist())
        on_rows(len(seen))
    return len(seen)
