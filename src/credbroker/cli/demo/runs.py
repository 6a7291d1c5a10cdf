"""The runs of the demonstration: stock PyIceberg scans a table and fails, credbroker scans two and tries the fences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyiceberg.catalog

from credbroker import Broker
from credbroker.cli.demo import outside
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.platform import VENDED, WAYS, Way
from credbroker.cli.demo.report import ScanResult, WayResult
from credbroker.cli.demo.seaweed import BUCKET, SeaweedFS
from credbroker.cli.demo.table import Size, scan, write
from credbroker.cli.demo.tally import Passage
from credbroker.cli.demo.view import View
from credbroker.credentials import S3Credentials, TableCredentials
from credbroker.errors import CredbrokerError
from credbroker.integrations.pyiceberg import load_catalog

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


class Runs:
    """What the runs have in common: the store, the proxy before it, the broker, the size of a table, and who is told.

    ``delay``: seconds by which the store is slowed during a scan.
    """

    def __init__(
        self, *, store: SeaweedFS, proxy: PacingProxy, broker: Broker, size: Size, delay: float, view: View
    ) -> None:
        self._store = store
        self._proxy = proxy
        self._broker = broker
        self._size = size
        self._delay = delay
        self._view = view
        self._targets: dict[Way, outside.Target] = {}
        self._now: Way | None = None

    def write(self) -> int:
        """Write a table each way, and an object elsewhere; how many requests were refused for expired keys."""
        admin = outside.client(self._store.s3_endpoint, self._store.access_key, self._store.secret_key)
        admin.put_object(Bucket=BUCKET, Key=outside.ELSEWHERE_KEY, Body=b"nobody's business")
        with self._proxy.watch(self._tell_refusal) as tally:
            for way in WAYS:
                table = write(load_catalog(self._broker, way.catalog, access="read_write"), way.identifier, self._size)
                self._targets[way] = outside.find(admin, table.location())
                what = f"{self._size.files} files, {self._size.rows:,} rows"
                self._view.say(f"wrote {what} to {table.location()}, keys {way.title}")
        admin.close()
        return tally.refused_expired

    def stock(self) -> ScanResult:
        """Scan the first table with PyIceberg as it is: the keys that came with the table, for as long as they live."""
        catalog = pyiceberg.catalog.load_catalog(
            "stock",
            type="rest",
            uri=self._store.catalog_uri,
            warehouse=self._store.warehouse,
            credential=f"{self._store.access_key}:{self._store.secret_key}",
            **{"header.X-Iceberg-Access-Delegation": "vended-credentials"},
        )
        self._view.begin("stock PyIceberg", self._size.rows)
        with self._proxy.watch(self._tell_refusal) as tally:
            rows, error = self._scan(catalog, VENDED, self._show_fixed)
        result = ScanResult(rows, tally.replaced, tally.refused_expired, error)
        self._view.end(result)
        return result

    def way(self, way: Way) -> WayResult:
        """Scan the way's table through credbroker, then try to reach outside it with the same credentials."""
        source = self._broker.table(way.catalog, way.identifier, access="read")
        source.on_refresh(lambda value: self._show_current(way, value))
        self._now = way
        own = self._targets[way]
        sibling = next(target for other, target in self._targets.items() if other is not way)

        def current() -> S3Credentials:
            held = source.get(wait=True).for_location(own.folder)
            if not isinstance(held, S3Credentials):
                raise TypeError(type(held).__name__)
            return held

        self._view.begin(f"credbroker, keys {way.title}", self._size.rows)
        with self._proxy.watch(self._tell_refusal) as tally:
            rows, error = self._scan(load_catalog(self._broker, way.catalog, access="read"), way, lambda table: None)
            self._view.end(ScanResult(rows, tally.replaced, tally.refused_expired, error))
            replaced = tally.replaced
            tried = []
            # The catalog decides what it vends, and this one vends reading and writing together.
            for attempt in outside.attempts(current, self._proxy.url, own, sibling, read_only=way is not VENDED):
                self._view.attempt(attempt)
                tried.append(attempt)
        self._now = None
        scanned = ScanResult(rows, replaced, tally.refused_expired, error)
        return WayResult(scanned, len(tried), sum(attempt.refused for attempt in tried))

    def _scan(self, catalog: Catalog, way: Way, on_table: Callable[[Table], None]) -> tuple[int, str | None]:
        """Rows that arrived, and what ended it early."""
        rows, error = 0, None

        def count(so_far: int) -> None:
            nonlocal rows
            rows = so_far
            self._view.rows(so_far)

        self._proxy.delay = self._delay
        try:
            table = catalog.load_table(way.identifier)
            on_table(table)
            scan(table, count)
        except (CredbrokerError, OSError) as failure:
            error = f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
        finally:
            self._proxy.delay = 0.0
        return rows, error

    def _show_current(self, way: Way, value: TableCredentials) -> None:
        if way is self._now:  # that of an earlier run is still refreshed
            self._view.credential(value.fingerprint[:6], value.expires_at)

    def _show_fixed(self, table: Table) -> None:
        ends = table.io.properties.get("s3.session-token-expires-at-ms")
        key_id = str(table.io.properties.get("s3.access-key-id", ""))
        self._view.credential(f"..{key_id[-4:]}", datetime.fromtimestamp(int(ends) / 1000, UTC) if ends else None)

    def _tell_refusal(self, passage: Passage) -> None:
        if passage.refused_expired:
            name = passage.path.rpartition("/")[2]
            self._view.refused(f"{passage.method} {name}: {passage.code or passage.status}")
