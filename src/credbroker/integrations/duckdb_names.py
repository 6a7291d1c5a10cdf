"""The names of DuckDB secrets, and what comes of two that are for one place.

DuckDB takes the secret with the longest scope that a path begins with, and of several such the one whose name comes first.
"""

from __future__ import annotations

from typing import Any

import duckdb

from credbroker.brokerage import key_of
from credbroker.source import CredentialSource


def stem_of(source: CredentialSource[Any]) -> str:
    """What the names of equal sources begin with, whose credentials are interchangeable, and no other's.

    Equal are those of one broker that have one key: the actor is in it, and the run where that is in the credential. Not by
    the settings' fingerprint in it, which a reload changes for all of them.
    """
    asked, _ = key_of(source._attached())  # noqa: SLF001
    of = source._broker._brokerage.reference.token, asked  # noqa: SLF001
    return f"credbroker_{source.request.profile}_{hash(of) % 2**64:016x}_".lower()


def clash(cursor: duckdb.DuckDBPyConnection, name: str, stem: str, scope: list[str]) -> str | None:
    """Why no secret of that name and scope can be created beside those in the database's memory; None where it can.

    Those of the same stem hold the same keys, so it is no matter which of them is taken.
    """
    try:
        known = cursor.execute("SELECT name, scope FROM duckdb_secrets() WHERE storage = 'memory'").fetchall()
    except duckdb.Error as error:  # a persistent secret that cannot be read, which bars it from using any
        return f"DuckDB does not list its secrets ({type(error).__name__})"
    for another, places in known:
        if another == name:
            return f"there is a secret {name!r}: close it first, or give this one another name"
        common = set(scope).intersection(places)
        if common and not another.startswith(stem):
            return (
                f"the secret {another!r} is for {min(common)} too, and not of an equal source, so that DuckDB could use "
                "either: close it first, or use another database (duckdb.connect())"
            )
    return None
