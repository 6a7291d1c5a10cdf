"""The names and marks of DuckDB secrets, and what comes of two that are for one place.

DuckDB takes the secret with the longest scope that a path begins with, and of several such the one whose name comes first.
A mark is one more text in a secret's scope, which no path begins with. It says in the database itself whose the secret is:
a name does not, as the user may give it, and in several databases.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakValueDictionary

import duckdb

from credbroker.brokerage import key_of
from credbroker.source import CredentialSource

_SCHEME = "credbroker:"
live: WeakValueDictionary[str, object] = WeakValueDictionary()
"""By its mark each secret of this process that somebody can still close, or that is refreshed."""
_creating: dict[int, threading.Lock] = {}


def creating() -> threading.Lock:
    """Held while one is created: two at once would not see each other. By process, as nobody frees it in a forked child."""
    return _creating.setdefault(os.getpid(), threading.Lock())


def stem_of(source: CredentialSource[Any]) -> str:
    """What the marks of equal sources begin with, whose credentials are interchangeable, and no other's.

    Equal are those of one broker that have one key: the actor is in it, and the run where that is in the credential. Not by
    the settings' fingerprint in it, which a reload changes for all of them.
    """
    asked, _ = key_of(source._attached())  # noqa: SLF001
    of = source._broker._brokerage.reference.token, asked  # noqa: SLF001
    return f"{_SCHEME}{source.request.profile}:{hash(of) % 2**64:016x}:"


def clash(cursor: duckdb.DuckDBPyConnection, name: str, stem: str, scope: list[str]) -> str | None:
    """Why no secret of that name and scope can be created beside those in the database's memory; None where it can.

    Those of the same stem hold the same keys, so it is no matter which of them is taken. What is left of a secret that was
    closed when its connection already was is dropped.
    """
    try:
        known = _known(cursor)
    except duckdb.Error as error:  # a persistent secret that cannot be read, which bars it from using any
        return f"DuckDB does not list its secrets ({type(error).__name__})"
    for another, places in known:
        mark = next((place for place in places if place.startswith(_SCHEME)), "")
        if mark and mark not in live and drop(cursor, another) is None:
            continue
        end = f"close it, or DROP TEMPORARY SECRET {quoted(another)},"
        if another == name:
            return f"there is a secret {name!r}: {end} or give this one another name"
        common = set(scope).intersection(places)
        if common and not mark.startswith(stem):
            return (
                f"the secret {another!r} is for {min(common)} too, and not of an equal source, so that DuckDB could use "
                f"either: {end} or use another database (duckdb.connect())"
            )
    return None


def is_there(cursor: duckdb.DuckDBPyConnection, mark: str) -> bool:
    """Whether the secret is in the database's memory, or that cannot be told."""
    try:
        return any(mark in places for _, places in _known(cursor))
    except duckdb.Error:
        return True


def drop(cursor: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The class of the error, if there is one."""
    return run(cursor, f"DROP TEMPORARY SECRET IF EXISTS {quoted(name)}", {})


def run(cursor: duckdb.DuckDBPyConnection, statement: str, settings: dict[str, Any]) -> str | None:
    """The class of the error, if there is one: its text and its frames may hold what is in ``settings``."""
    try:
        cursor.execute(statement, settings or None)
    except duckdb.Error as error:
        return type(error).__name__
    return None


def quoted(name: str) -> str:
    """As it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def _known(cursor: duckdb.DuckDBPyConnection) -> list[Any]:
    return cursor.execute("SELECT name, scope FROM duckdb_secrets() WHERE storage = 'memory'").fetchall()
