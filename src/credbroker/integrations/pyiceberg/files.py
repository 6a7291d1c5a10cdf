"""Files: which source serves which location, for one catalog or one table of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from credbroker.broker import Broker
from credbroker.credentials import S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.integrations.pyiceberg.paths import file_location, folder_of, table_root
from credbroker.location import Location, covering
from credbroker.request import Access
from credbroker.source import CredentialSource
from credbroker.table_locations import storage_for

PROPERTY = "credbroker.files"
"""Under this name a FileIO's properties hold its ``Files``: PyIceberg makes a FileIO of properties alone."""

_MOST_SOURCES = 256


class Served(NamedTuple):
    """The prefix that a location was found under, and the credentials for it."""

    prefix: Location
    credentials: S3Credentials


class Files:
    """Credentials for the files of a table, or of a catalog's tables, asked of the broker at each use.

    With ``table`` they come from ``broker.table``: the catalog vends them, or the broker by itself takes the storage
    profile's. Without, ``storage_for`` chooses the storage profile by containment, and each of ``roots`` (the table's
    location first) is asked for as a whole. With ``own`` they are the keys that the catalog itself is asked with (a table
    bucket's). Pickles as references: no credential is kept here.
    """

    def __init__(
        self,
        broker: Broker,
        catalog: str,
        access: Access,
        *,
        table: tuple[str, ...] | None = None,
        roots: tuple[str, ...] = (),
        own: bool = False,
    ) -> None:
        self.catalog = catalog
        self.access = access
        self.network = broker.network
        self._broker = broker
        self._table = table
        self._roots = [Location.parse(root) for root in roots]
        self._vended = broker.table(catalog, table, access=access) if table else None
        self._own: CredentialSource[Any] | None = broker.catalog(catalog, access=access) if own else None
        self._storage: dict[Location, CredentialSource[StorageCredentials]] = {}
        for location in self._roots:  # a table that leads outside every storage profile is refused here and not at a file
            self._stored(location)

    def get(self, location: str | Location) -> Served:
        """The credentials for a file or prefix, now. At STALE it waits for the refresh under way.

        Raises ``AccessDenied`` where nothing serves the location, and what ``CredentialSource.get`` raises.
        """
        wanted = file_location(location)
        prefix, source = self._source(wanted)
        return _serve(source.get(wait=True), wanted, prefix)

    async def aget(self, location: str | Location) -> Served:
        """As ``get``, without blocking the event loop."""
        wanted = file_location(location)
        prefix, source = self._source(wanted)
        return _serve(await source.aget(wait=True), wanted, prefix)

    def need_write(self) -> None:
        """Raise ``AccessDenied`` where the catalog was loaded to read: a refusal by the store would not say why."""
        if self.access is not Access.READ_WRITE:
            raise AccessDenied("loaded with access='read': load it with access='read_write' to write", profile=self.catalog)

    @contextmanager
    def rooted(self, *roots: str) -> Iterator[None]:
        """Within the block these roots are known too, so that all that lies below one is asked for once."""
        added = [Location.parse(root) for root in roots]
        self._roots.extend(added)
        try:
            yield
        finally:
            for root in added:
                self._roots.remove(root)

    def _source(self, wanted: Location) -> tuple[Location, CredentialSource[Any]]:
        if self._vended is not None:
            return wanted, self._vended
        if self._own is not None:
            return Location(wanted.scheme, wanted.bucket, ""), self._own
        root = covering(tuple(self._roots), wanted)
        if root is not None:
            return root, self._stored(root)
        # A file outside every root that is known: a catalog's first look at a table's metadata, or a file that was added to
        # the table from elsewhere. As narrow as can be told, and only what the profile allows.
        guess = table_root(wanted)
        if guess is not None:
            try:
                return guess, self._stored(guess)
            except AccessDenied:
                pass
        folder = folder_of(wanted)
        return folder, self._stored(folder)

    def _stored(self, root: Location) -> CredentialSource[StorageCredentials]:
        source = self._storage.get(root)
        if source is None:
            source = storage_for(self._broker, self.catalog, root, self.access)
            if len(self._storage) >= _MOST_SOURCES:
                self._storage = {}
            self._storage[root] = source
        return source

    def __repr__(self) -> str:
        default = "by location" if self._own is None else "by the catalog's own keys"
        what = ".".join(self._table) if self._table else ", ".join(map(str, self._roots)) or default
        return f"<Files of catalog {self.catalog!r}: {what}, access={self.access.value}>"

    def __reduce__(self) -> tuple[Any, ...]:
        roots = tuple(map(str, self._roots))
        return _rebuild, (self._broker, self.catalog, self.access, self._table, roots, self._own is not None)


def of(properties: dict[str, Any]) -> Files:
    """The ``Files`` in a FileIO's properties. Raises ``ConfigurationError`` where there is none."""
    files = properties.get(PROPERTY)
    if not isinstance(files, Files):
        raise ConfigurationError(
            "this FileIO is made by a catalog of credbroker's and holds no credentials of its own: "
            "use load_catalog, or py-catalog-impl"
        )
    return files


def _rebuild(  # noqa: PLR0917 - pickle calls it
    broker: Broker, catalog: str, access: Access, table: tuple[str, ...] | None, roots: tuple[str, ...], own: bool
) -> Files:
    return Files(broker, catalog, access, table=table, roots=roots, own=own)


def _serve(value: object, wanted: Location, prefix: Location) -> Served:
    if isinstance(value, TableCredentials):
        prefix = covering(value.prefixes, wanted) or wanted
        value = value.for_location(wanted)
    if not isinstance(value, S3Credentials):
        raise ConfigurationError(f"{wanted} is served by {type(value).__name__}: PyIceberg gets S3 credentials only here")
    if not value.access_key_id or not value.secret_access_key.get_secret_value():
        # Empty keys make Arrow and botocore look for others in the environment: another identity, without a word.
        raise ConfigurationError(f"the credentials for {prefix} have an empty key")
    return Served(prefix, value)
