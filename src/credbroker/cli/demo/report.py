"""What the demonstration found, and whether it is what was claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

LEAST_REFRESHES = 3


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One scan of all files, as the store saw it.

    ``replaced``: how often the keys were other ones, between the first and the last file opened. ``refused_expired``: how
    many requests the store refused because their keys had expired. ``error``: what ended the scan early, in one line.
    """

    rows: int
    replaced: int
    refused_expired: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class WayResult:
    """One way's scan, and the attempts to reach outside with its credentials."""

    scan: ScanResult
    attempts: int
    refused: int


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of ``--json``. ``refreshes`` is the smaller one of the ways; ``refused_expired`` is ours alone."""

    rows: int
    rows_expected: int
    refreshes: int
    refused_expired: int
    outside_attempts: int
    outside_refused: int
    stock_failed: bool
    seconds: float
    ok: bool

    def as_json(self) -> dict[str, object]:
        """Plain values under the fields' names."""
        return asdict(self)


def report(
    ways: Sequence[WayResult], stock: ScanResult, *, rows_each: int, writing_refused_expired: int, seconds: float
) -> Report:
    """Sum up. ``writing_refused_expired``: expired keys refused while the tables were written."""
    rows = sum(way.scan.rows for way in ways)
    expected = rows_each * len(ways)
    refreshes = min((way.scan.replaced for way in ways), default=0)
    refused_expired = writing_refused_expired + sum(way.scan.refused_expired for way in ways)
    attempts = sum(way.attempts for way in ways)
    refused = sum(way.refused for way in ways)
    # It must have failed for the reason that is claimed: keys that the store no longer takes.
    stock_failed = stock.error is not None and stock.rows < rows_each and stock.refused_expired > 0
    ok = (
        rows == expected
        and all(way.scan.error is None for way in ways)
        and refreshes >= LEAST_REFRESHES
        and refused_expired == 0
        and 0 < attempts == refused
        and stock_failed
    )
    return Report(rows, expected, refreshes, refused_expired, attempts, refused, stock_failed, round(seconds, 1), ok)
