"""What is tried. Whether a real store refuses it is for ``tests/live/test_doctor.py``."""

from __future__ import annotations

import pytest

from credbroker.cli.doctor.tries import ASSUME_AGAIN, Act, Ground, Try, tries
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access

SALES = Location.parse("s3://lake/sales")
ROOT = Location.parse("s3://lake/")
ALL = [Access.READ, Access.WRITE, Access.READ_WRITE]
OWN_NAME = ".credbroker-doctor-0123"


def ground(location: Location = SALES, *allowed: Location) -> Ground:
    return Ground.below(location, allowed or (location,), "0123")


def granted(one: Try) -> bool:
    """Whether the grant covers the call: by the words of the platform file, not by any policy."""
    reads = one.act in (Act.READ, Act.LIST)
    if not one.ask.access.covers(Access.READ if reads else Access.WRITE) and one.act is not Act.LIST:
        return False
    folder = one.ask.location.prefix
    return one.key.startswith(folder) and one.source.startswith(folder if one.source else "")


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("location", [SALES, ROOT])
@pytest.mark.parametrize("found", [None, "sales/2026/may"])
def test_all_inside_is_granted_and_nothing_outside_is(access: Access, location: Location, found: str | None) -> None:
    planned = tries(ground(location), access, found)
    assert planned.before
    assert planned.after
    assert all(map(granted, [*planned.before, *planned.after]))
    assert not any(map(granted, planned.outside))


@pytest.mark.parametrize("access", ALL)
def test_reading_writing_deleting_and_listing_are_tried_beside_the_folder(access: Access) -> None:
    tried = {(one.act, one.key) for one in tries(ground(), access, None).outside}
    sibling, folder = f"sales/{OWN_NAME}-ab/", f"sales/{OWN_NAME}-a"
    assert {(Act.READ, f"{sibling}probe"), (Act.DELETE, f"{sibling}probe"), (Act.WRITE, f"{sibling}new")} <= tried
    assert {(Act.LIST, sibling), (Act.LIST, folder), (Act.LIST, "sales/"), (Act.LIST, "")} <= tried
    assert {(Act.WRITE, OWN_NAME), (Act.READ, OWN_NAME)} <= tried


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("found", [None, "sales/2026/may"])
def test_nothing_is_ever_written_or_deleted_under_a_name_that_is_not_its_own(access: Access, found: str | None) -> None:
    planned = tries(ground(), access, found)
    changes = [
        one.key
        for one in [*planned.before, *planned.outside, *planned.after]
        if one.act in (Act.WRITE, Act.COPY, Act.DELETE)
    ]
    assert changes
    assert all(key.startswith((f"sales/{OWN_NAME}-a", OWN_NAME)) for key in changes)


@pytest.mark.parametrize("access", [Access.WRITE, Access.READ_WRITE])
def test_what_a_reader_is_refused_was_put_there_before(access: Access) -> None:
    planned = tries(ground(), access, None)
    put = {one.key for one in planned.before if one.act is Act.WRITE}
    inside = {one.key for one in planned.outside if one.act is Act.READ} - {OWN_NAME}
    assert inside == {f"sales/{OWN_NAME}-ab/probe", f"sales/{OWN_NAME}-a/probe"} == put - {f"sales/{OWN_NAME}-a/second"}
    assert {one.source for one in planned.outside if one.act is Act.COPY} <= put


def test_who_may_only_read_is_refused_an_object_that_is_there() -> None:
    planned = tries(ground(), Access.READ, "sales/2026/may")
    assert (planned.outside[0].act, planned.outside[0].key) == (Act.READ, "sales/2026/may")
    assert "sales/2026/may" in {one.key for one in planned.before if one.act is Act.READ}


def test_each_grant_is_shown_to_work_before_it_is_shown_to_refuse() -> None:
    for access in ALL:
        planned = tries(ground(), access, None)
        assert {one.ask for one in planned.outside} <= {one.ask for one in planned.before}
        assert {one.ask for one in planned.outside} <= {one.ask for one in planned.after}


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("location", [SALES, ROOT])
def test_the_role_is_asked_for_again_once_with_all_that_is_granted(access: Access, location: Location) -> None:
    (again,) = (one for one in tries(ground(location), access, None).outside if one.act is Act.ASSUME)
    assert (again.what, again.ask.access) == (ASSUME_AGAIN, access)


def test_narrower_access_is_tried_where_there_is_one() -> None:
    both = {(one.ask.access, one.act) for one in tries(ground(), Access.READ_WRITE, None).outside}
    assert {(Access.READ, Act.WRITE), (Access.READ, Act.DELETE), (Access.WRITE, Act.READ)} <= both


def test_where_the_profile_has_all_of_the_bucket_there_is_no_outside_of_it() -> None:
    assert ground(ROOT).outside is None
    assert ground(SALES, SALES, ROOT).outside is None
    listed = [one.what for one in tries(ground(ROOT), Access.READ, None).outside if one.act is Act.LIST and not one.key]
    assert listed == ["list the whole bucket, s3://lake/"]


def test_a_location_too_deep_for_a_folder_below_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1024"):
        ground(Location.parse(f"s3://lake/{'x' * 1020}"))
