"""DuckDB: the rows of an Iceberg table, by one attached catalog. Arguments: the catalog's URI, its warehouse.

Extensions come from the package index beside DuckDB itself: none is downloaded.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb
from repeat import repeat

uri, warehouse = sys.argv[1:]
connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
for name in ("httpfs", "avro", "iceberg"):
    found = find_spec(f"duckdb_extension_{name}")
    assert found is not None
    assert found.origin is not None
    (extension,) = Path(found.origin).parent.glob(f"extensions/*/{name}.duckdb_extension")
    connection.load_extension(str(extension))


def quoted(name: str) -> str:
    return "'" + os.environ[name].replace("'", "''") + "'"


connection.execute(
    f"CREATE SECRET token (TYPE iceberg, CLIENT_ID {quoted('CLIENT_ID')}, CLIENT_SECRET {quoted('CLIENT_SECRET')}, "
    f"OAUTH2_SERVER_URI {quoted('TOKEN_URL')})"
)
connection.execute(f"ATTACH '{warehouse}' AS production (TYPE iceberg, ENDPOINT '{uri}', SECRET token)")


def read() -> None:
    found = connection.execute("SELECT count(*) FROM production.sidecar_clients.orders").fetchone()
    assert found is not None
    assert found[0] > 0


repeat(read)
