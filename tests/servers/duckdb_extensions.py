"""Connections of DuckDB with extensions from the package index: none is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb


def connect(*extensions: str, database: str = ":memory:") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        database, config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    for name in extensions:
        found = find_spec(f"duckdb_extension_{name}")
        assert found is not None
        assert found.origin is not None
        (extension,) = Path(found.origin).parent.glob(f"extensions/*/{name}.duckdb_extension")
        connection.load_extension(str(extension))
    return connection
