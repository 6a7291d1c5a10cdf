"""Whatever is asked, and however often it is narrowed: what is let through lies in what was allowed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from credbroker.errors import AccessDenied, ConfigurationError, CredbrokerError
from credbroker.limits import narrowed, within
from credbroker.location import Location
from credbroker.profile import StorageProfile
from credbroker.request import Access, CredentialRequest

RIGHTS = {None: {"get"}, Access.READ: {"get"}, Access.WRITE: {"put"}, Access.READ_WRITE: {"get", "put"}}

names = st.sampled_from(["a", "b", "ab", "a*", "*", "a%2e", ".a"])
trees = st.builds(
    lambda scheme, bucket, path: Location(scheme, bucket, "/".join(path)),
    st.sampled_from(["s3", "s3", "s3", "gs"]),
    st.sampled_from(["lake", "lake", "lake2"]),
    st.lists(names, max_size=3),
)
accesses = st.sampled_from(Access)


def lies_in(inner: tuple[Location, ...], outer: tuple[Location, ...]) -> bool:
    """By the text alone, whose last character is the slash that keeps siblings apart."""
    return all(any(str(one).startswith(str(other)) for other in outer) for one in inner)


def profile(locations: list[Location], access: Access) -> StorageProfile:
    return StorageProfile(name="lake", locations=tuple(locations), access=access)


def request(locations: list[Location], access: Access | None) -> CredentialRequest:
    return CredentialRequest("storage", "lake", tuple(locations), access)


@given(st.lists(trees, max_size=3), accesses, st.lists(trees, min_size=1, max_size=3), st.none() | accesses)
@example([Location("s3", "lake", "a")], Access.READ, [Location("s3", "lake", "ab")], Access.READ)
@example([Location("s3", "lake", "*")], Access.READ, [Location("s3", "lake", "b")], Access.READ)
@example([Location("s3", "lake", "")], Access.WRITE, [Location("s3", "lake", "a")], Access.READ)
def test_a_request_passes_if_and_only_if_the_profile_allows_each_location_and_the_access(
    allowed: list[Location], most: Access, asked: list[Location], access: Access | None
) -> None:
    meant = access or Access.READ  # what is unsaid is the least, and said from then on
    if lies_in(tuple(asked), tuple(allowed)) and RIGHTS[access] <= RIGHTS[most]:
        assert within(request(asked, access), profile(allowed, most)) == request(asked, meant)
    else:
        with pytest.raises(AccessDenied) as caught:
            within(request(asked, access), profile(allowed, most))
        assert meant.value in caught.value.message or any(str(location) in caught.value.message for location in asked)


@given(st.lists(trees, max_size=3), accesses, accesses)
def test_without_a_location_the_profiles_only_one_is_meant(allowed: list[Location], most: Access, access: Access) -> None:
    asked = request([], access)
    if len(allowed) == 1 and RIGHTS[access] <= RIGHTS[most]:
        assert within(asked, profile(allowed, most)) == request(allowed, access)
    else:
        with pytest.raises(CredbrokerError) as caught:
            within(asked, profile(allowed, most))
        assert isinstance(caught.value, ConfigurationError if len(allowed) > 1 else AccessDenied)


@given(
    st.lists(trees, min_size=1, max_size=3),
    accesses,
    st.lists(st.tuples(st.lists(trees, max_size=2), st.none() | accesses), max_size=4),
)
def test_no_chain_of_narrowings_ever_widens(
    held: list[Location], access: Access, steps: list[tuple[list[Location], Access | None]]
) -> None:
    now = request(held, access)
    for locations, wanted in steps:
        may = lies_in(tuple(locations), now.locations) and (wanted is None or RIGHTS[wanted] <= RIGHTS[now.access or access])
        if not may:
            with pytest.raises(AccessDenied):
                narrowed(now, tuple(locations), wanted)
            continue
        after = narrowed(now, tuple(locations), wanted)
        assert after == request(locations or list(now.locations), wanted or now.access or access)
        assert lies_in(after.locations, now.locations)
        now = after
    assert lies_in(now.locations, tuple(held))
    assert RIGHTS[now.access or access] <= RIGHTS[access]


@given(
    st.builds(profile, st.lists(trees, max_size=3), accesses),
    st.builds(request, st.lists(trees, max_size=3), st.none() | accesses),
    st.lists(trees, max_size=2),
    accesses,
)
def test_what_a_handle_is_narrowed_to_its_profile_allows_too(
    limits: StorageProfile, asked: CredentialRequest, less: list[Location], least: Access
) -> None:
    try:
        smaller = narrowed(within(asked, limits), tuple(less), least)
    except CredbrokerError:
        return
    assert within(smaller, limits) == smaller
