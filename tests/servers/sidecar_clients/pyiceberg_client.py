"""PyIceberg: a table and its rows, by one catalog with PYICEBERG_CATALOG__PRODUCTION__*. Argument: "oauth2" or "credential".

"credential" is what the variables give; "oauth2" is the newer way, which no variable sets.
"""

from __future__ import annotations

import os
import sys

from pyiceberg.catalog import load_catalog
from repeat import repeat

properties = {}
if sys.argv[1] == "oauth2":
    client = {"client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
    properties["auth"] = {"type": "oauth2", "oauth2": {**client, "token_url": os.environ["TOKEN_URL"]}}
catalog = load_catalog("production", **properties)


def read() -> None:
    assert catalog.load_table("sidecar_clients.orders").scan().to_arrow().num_rows > 0


repeat(read)
