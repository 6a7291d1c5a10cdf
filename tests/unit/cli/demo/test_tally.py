from __future__ import annotations

import pytest

from credbroker.cli.demo.tally import Passage, Tally


def get(at: float, key_id: str, name: str, *, status: int = 200, code: str | None = None, method: str = "GET") -> Passage:
    return Passage(at, method, f"/warehouse/shop/orders/data/{name}", key_id, status, code, is_data=True)


def tally(*passages: Passage) -> Tally:
    made = Tally()
    for passage in passages:
        made.note(passage)
    return made


def test_keys_are_replaced_as_often_as_another_one_opens_a_file() -> None:
    assert tally(get(1, "A", "1"), get(2, "A", "2"), get(3, "B", "3"), get(4, "C", "4")).replaced == 2


def test_only_the_first_request_for_a_file_opens_it() -> None:
    """A second one for the same file, with other keys, is no rotation between two opens."""
    counted = tally(get(1, "A", "1"), get(2, "B", "1"))
    assert [passage.key_id for passage in counted.opens] == ["A"]
    assert counted.replaced == 0


def test_opens_are_ordered_by_when_they_were_asked_for() -> None:
    """Requests that overtake each other are noted in the order of their answers."""
    assert [passage.path[-1] for passage in tally(get(2, "B", "2"), get(1, "A", "1")).opens] == ["1", "2"]


def test_neither_a_refused_request_nor_one_for_metadata_opens_a_file() -> None:
    refused = get(1, "A", "1", status=403, code="InvalidAccessKeyId")
    metadata = Passage(2, "GET", "/warehouse/shop/orders/metadata/1", "B", 200, None, is_data=False)
    head = get(3, "C", "1", method="HEAD")
    assert tally(refused, metadata, head).opens == ()


def test_nothing_that_passed_means_nothing_replaced() -> None:
    assert tally().replaced == 0


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "ExpiredToken"])
def test_expired_keys_are_told_by_the_stores_code(code: str) -> None:
    counted = tally(get(1, "A", "1", status=403, code=code))
    assert (counted.refused_expired, counted.denied) == (1, 0)


def test_a_denial_is_no_expiry() -> None:
    counted = tally(get(1, "A", "1", status=403, code="AccessDenied"))
    assert (counted.refused_expired, counted.denied) == (0, 1)


def test_a_refusal_that_does_not_say_why_counts_against_us() -> None:
    assert tally(get(1, "A", "1", status=403, method="HEAD")).refused_expired == 1


def test_an_absent_object_is_no_refusal() -> None:
    counted = tally(get(1, "A", "1", status=404, method="HEAD"), get(2, "A", "1", status=404, code="NoSuchKey"))
    assert (counted.refused_expired, counted.denied) == (0, 0)


def test_ignored_keys_count_nowhere() -> None:
    told: list[Passage] = []
    counted = Tally(ignore=frozenset({"A"}), on_passage=told.append)
    counted.note(get(1, "A", "1", status=403, code="ExpiredToken"))
    counted.note(get(2, "B", "2"))
    assert (counted.requests, counted.refused_expired) == (1, 0)
    assert [passage.key_id for passage in told] == ["B"]
