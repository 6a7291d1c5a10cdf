from __future__ import annotations

import json
from dataclasses import replace

import pytest

from credbroker.cli.demo.report import Report, ScanResult, WayResult, report
from credbroker.cli.demo.view import conclusion

SCAN = ScanResult(rows=100, replaced=4, refused_expired=0)
WAY = WayResult(SCAN, attempts=7, refused=7)
STOCK = ScanResult(rows=40, replaced=0, refused_expired=2, error="OSError: refused")


def of(first: WayResult = WAY, second: WayResult = WAY, stock: ScanResult = STOCK, writing: int = 0) -> Report:
    return report([first, second], stock, rows_each=100, writing_refused_expired=writing, seconds=12.34)


def test_all_as_claimed_is_ok() -> None:
    assert of() == Report(200, 200, 4, 0, 14, 14, stock_failed=True, seconds=12.3, ok=True)


def test_refreshes_are_the_smaller_of_the_two_ways() -> None:
    assert of(second=replace(WAY, scan=replace(SCAN, replaced=9))).refreshes == 4
    assert of(first=replace(WAY, scan=replace(SCAN, replaced=9))).refreshes == 4


@pytest.mark.parametrize(
    "found",
    [
        of(first=replace(WAY, scan=replace(SCAN, rows=99))),
        of(second=replace(WAY, scan=replace(SCAN, replaced=2))),
        of(second=replace(WAY, scan=replace(SCAN, refused_expired=1))),
        of(first=replace(WAY, scan=replace(SCAN, error="OSError: late"))),
        of(first=replace(WAY, refused=6)),
        of(first=replace(WAY, attempts=0, refused=0), second=replace(WAY, attempts=0, refused=0)),
        of(writing=1),
        of(stock=SCAN),
        of(stock=replace(STOCK, refused_expired=0)),
    ],
    ids=[
        "a row is missing",
        "too few refreshes",
        "an expired key",
        "an error after the last row",
        "one let through",
        "nothing tried",
        "an expired key in writing",
        "stock held out",
        "stock failed for another reason",
    ],
)
def test_anything_less_is_not_ok(found: Report) -> None:
    assert not found.ok


def test_the_json_object_has_exactly_the_promised_fields() -> None:
    assert list(json.loads(json.dumps(of().as_json()))) == [
        "rows",
        "rows_expected",
        "refreshes",
        "refused_expired",
        "outside_attempts",
        "outside_refused",
        "stock_failed",
        "seconds",
        "ok",
    ]


def test_the_stock_runs_refusals_are_not_counted_as_ours() -> None:
    assert of(stock=replace(STOCK, refused_expired=50)).refused_expired == 0


def test_each_claim_is_told_with_whether_it_holds() -> None:
    assert all(holds for holds, _ in conclusion(of()))
    failed = conclusion(of(first=replace(WAY, refused=6), stock=SCAN))
    assert [text for holds, text in failed if not holds] == [
        "13 of 14 attempts outside the grant refused by the store",
        "stock PyIceberg at the same pace did NOT fail",
    ]
