"""Which 404 proves a look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from credbroker.cli.doctor.scope import _told_apart
from credbroker.cli.doctor.tries import Act, Ground, Try, tries
from credbroker.cli.fence import Attempt, Outcome
from credbroker.location import Location
from credbroker.request import Access

SALES = Location.parse("s3://lake/sales")
GROUND = Ground.below(SALES, (SALES,), "0123")
LOOKED = Outcome.LOOKED
FREE = "read what would be there"


def outcomes(access: Access, found: str | None, **answers: Outcome) -> dict[str, Outcome]:
    """What becomes of the answers to reading what is there, by ``other`` grants too, and what is not; all else refused."""
    return told_apart(access, found, lambda one: _answer(one, answers))


def told_apart(access: Access, found: str | None, answer: Callable[[Try], Outcome]) -> dict[str, Outcome]:
    planned = tries(GROUND, access, found)
    made = [Attempt(one.what, answer(one), "made") for one in planned.outside]
    told = _told_apart(planned.before, planned.outside, made)
    assert [replace(after, outcome=before.outcome) for after, before in zip(told, made, strict=True)] == made
    return {one.what: one.outcome for one in told}


def _answer(one: Try, answers: dict[str, Outcome]) -> Outcome:
    if one.act is not Act.READ:
        return Outcome.REFUSED
    if one.what == FREE:
        return answers["free"]
    return answers.get("other", answers["there"]) if one.ask.access is Access.WRITE else answers["there"]


@pytest.mark.parametrize("access", list(Access))
def test_nothing_there_is_no_hole_where_what_is_there_was_refused(access: Access) -> None:
    told = outcomes(access, "sales/2026/may", free=LOOKED, there=Outcome.REFUSED)
    assert told.pop(FREE) is Outcome.ABSENT
    assert set(told.values()) == {Outcome.REFUSED}


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("there", [one for one in Outcome if one not in (Outcome.REFUSED, Outcome.ABSENT)])
def test_it_is_a_look_where_what_is_there_was_not(access: Access, there: Outcome) -> None:
    told = outcomes(access, "sales/2026/may", free=LOOKED, there=there)
    assert told[FREE] is LOOKED
    assert Outcome.ABSENT not in told.values()


def test_another_grants_refusal_does_not_count() -> None:
    told = outcomes(Access.READ_WRITE, None, free=LOOKED, there=Outcome.DONE, other=Outcome.REFUSED)
    assert told[FREE] is LOOKED


@pytest.mark.parametrize("access", list(Access))
def test_only_reading_an_absent_name_can_be_harmless(access: Access) -> None:
    planned = tries(GROUND, access, "sales/2026/may").outside
    refused = next(one for one in planned if one.act is Act.READ)
    told = told_apart(access, "sales/2026/may", lambda one: Outcome.REFUSED if one == refused else LOOKED)
    assert [what for what, outcome in told.items() if outcome is Outcome.ABSENT] == [FREE]
    assert {outcome for what, outcome in told.items() if what not in (FREE, refused.what)} == {LOOKED}


def test_it_is_a_look_where_there_was_nothing_to_be_refused() -> None:
    told = outcomes(Access.READ, None, free=LOOKED, there=Outcome.REFUSED)
    assert told[FREE] is LOOKED


@pytest.mark.parametrize("free", [one for one in Outcome if one is not LOOKED])
def test_any_other_answer_stays_what_it_is(free: Outcome) -> None:
    assert outcomes(Access.READ_WRITE, None, free=free, there=Outcome.REFUSED)[FREE] is free
