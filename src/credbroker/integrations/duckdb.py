"""A DuckDB secret that follows the source's refresh.

::

    from credbroker.integrations.duckdb import secret

    with secret(connection, broker.storage("lake", "s3://lake/sales")):
        connection.sql("SELECT count(*) FROM 's3://lake/sales/*.parquet'")

DuckDB takes keys by value and cannot ask for others, so each new value is pushed to it before the last one ends.
``docs/adapters.md`` says what that means for a statement that runs for long.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn, Self

import duckdb

from credbroker.errors import ConfigurationError
from credbroker.integrations.duckdb_names import clash, creating, drop, is_there, live, quoted, run, stem_of
from credbroker.integrations.duckdb_settings import settings_of
from credbroker.source import CredentialSource

_EXTENSIONS = {"s3": "httpfs", "gcs": "httpfs", "azure": "azure"}
_logger = logging.getLogger(__name__)
_numbers = itertools.count(1)


class Secret:
    """Made by ``secret``. The block's end, or ``close``, drops it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: CredentialSource[Any], name: str | None) -> None:
        number = next(_numbers)
        self.name = (name or f"credbroker_{source.request.profile}_{number}").lower()  # as DuckDB writes it
        self._stem = stem_of(source)
        self._mark = f"{self._stem}{number}"
        self._source = source
        # Not held: a database is closed, and its file unlocked, when its last connection is.
        self._connection = weakref.ref(connection)
        self._lock = threading.Lock()
        self._created = self._closed = False
        self._end: datetime | None = None
        live[self._mark] = self
        self._stop: Callable[[], None] = lambda: None  # the first push may come before it is known how to stop
        self._stop = source.on_refresh(self._put)
        try:
            self._put(source.get(wait=True))
        except BaseException:
            self.close()
            raise

    def _put(self, value: Any) -> None:
        kind, settings = settings_of(self._source, value)
        scope = settings["SCOPE"]
        settings["SCOPE"] = [*scope, self._mark]
        words = ", ".join(f"{word} ${word.lower()}" for word in settings)
        statement = f"CREATE OR REPLACE TEMPORARY SECRET {quoted(self.name)} IN memory (TYPE {kind}, {words})"
        fault = failed = None
        dropped = False
        with self._lock:
            if self._closed or (self._end is not None and value.expires_at is not None and value.expires_at < self._end):
                return
            cursor = self._cursor()
            if cursor is not None:
                with cursor, nullcontext() if self._created else creating():
                    if self._created:
                        dropped = not is_there(cursor, self._mark)
                    else:
                        fault = clash(cursor, self.name, self._stem, scope)
                    failed = None if fault or dropped else run(cursor, statement, settings)
                    self._created = self._created or not (fault or failed)
            self._end = value.expires_at
        del settings
        if cursor is None:
            self._stop()  # and not close(): a block that goes on reads with it, and so no other's may take its place
        if dropped:  # by the user, who may have another one for the same place now
            self.close()
        if failed is not None:
            fault = (
                f"DuckDB does not take the secret {self.name!r} ({failed}): load its extension "
                f"{_EXTENSIONS[kind]!r} before, of DuckDB 1.5 or later"
            )
        if fault is not None:
            raise ConfigurationError(fault, profile=self._source.request.profile)

    def _cursor(self) -> duckdb.DuckDBPyConnection | None:
        """A connection of our own to the same database, for this thread; None where the caller's is closed or gone."""
        connection = self._connection()
        if connection is None:
            return None
        try:
            return connection.cursor()
        except duckdb.ConnectionException:
            return None

    def close(self) -> None:
        """End the refresh and drop the secret, where the connection is still open."""
        self._stop()
        with self._lock:
            self._closed = True
            cursor = self._cursor() if self._created else None  # else the one of that name is another's
            if cursor is not None:
                with cursor:
                    failed = drop(cursor, self.name) if is_there(cursor, self._mark) else None
                if failed is not None:
                    _logger.warning("DuckDB does not drop the secret %r (%s)", self.name, failed)
            live.pop(self._mark, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DuckDB secret {self.name!r} of {self._source!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is one connection's, and is not pickled: make it where the connection is")


def secret(connection: duckdb.DuckDBPyConnection, source: CredentialSource[Any], name: str | None = None) -> Secret:
    """Create the secret, for exactly the source's locations, and replace it at each refresh while ``connection`` is open.

    ``source`` is of a ``storage`` profile, or a table with one set of credentials; ``name`` is by default another one for
    each secret. Raises ``ConfigurationError`` for another source, for a host that ``network.allowed_hosts`` lacks, where
    DuckDB has not loaded the extension, for a name that is taken, and where a secret in the database's memory is for the
    same place but not of an equal source (the rest of a closed one is dropped); and what ``CredentialSource.get`` raises.
    """
    return Secret(connection, source, name)
