"""delta-rs: the log and the rows of one table object. Argument: the table's URL."""

from __future__ import annotations

import sys

from deltalake import DeltaTable
from repeat import repeat

table = DeltaTable(sys.argv[1])


def read() -> None:
    table.update_incremental()
    assert table.to_pyarrow_table().num_rows > 0


repeat(read)
