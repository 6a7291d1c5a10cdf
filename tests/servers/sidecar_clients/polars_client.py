"""Polars: a file of Parquet, by one lazy frame. Arguments: "auto" or "none" for its ``credential_provider``, URL."""

from __future__ import annotations

import sys

import polars as pl
from repeat import repeat

provider, url = sys.argv[1:]
frame = pl.scan_parquet(url, credential_provider="auto" if provider == "auto" else None)


def read() -> None:
    assert frame.collect().height > 0


repeat(read)
