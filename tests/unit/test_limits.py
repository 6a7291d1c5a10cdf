from __future__ import annotations

import pytest

from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.limits import asked_scopes, check_base, covers, narrowed, within
from credbroker.location import Location
from credbroker.profile import CatalogProfile, CredentialSettings, StorageProfile
from credbroker.request import Access, CredentialRequest


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


SALES, FINANCE = at("s3://lake/sales", "s3://lake/finance")
LAKE = StorageProfile(name="lake", locations=(SALES, FINANCE), access=Access.READ_WRITE)
READER = StorageProfile(name="reader", locations=(SALES,))
CATALOG = CatalogProfile(
    name="production",
    credentials=CredentialSettings(
        mode="oauth2",
        scope="PRINCIPAL_ROLE:ENGINEER extra",
        scopes={Access.READ: "PRINCIPAL_ROLE:ANALYST"},
        audience="polaris",
    ),
)


def storage(*uris: str, access: Access = Access.READ) -> CredentialRequest:
    return CredentialRequest("storage", "lake", at(*uris), access)


def token(*scopes: str, access: Access | None = None, audience: str | None = None) -> CredentialRequest:
    return CredentialRequest("catalog", "production", access=access, scopes=frozenset(scopes), audience=audience)


# -- within ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["s3://lake/sales", "s3://lake/sales/2026/may", "s3://lake/finance/x"])
def test_what_lies_in_the_profiles_locations_passes_as_it_is(uri: str) -> None:
    assert within(storage(uri), LAKE) == storage(uri)


@pytest.mark.parametrize(
    "uri", ["s3://lake/sales2", "s3://lake/", "s3://lake/s", "s3://lake/Sales", "s3://pond/sales", "gs://lake/sales"]
)
def test_a_sibling_a_parent_and_another_bucket_are_refused_by_name_with_what_is_allowed(uri: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        within(storage("s3://lake/sales", uri), LAKE)
    assert caught.value.message == (
        f"{Location.parse(uri)} lies outside what the profile allows (s3://lake/sales/, s3://lake/finance/)"
    )
    assert caught.value.profile == "lake"


def test_a_parent_of_everything_that_is_allowed_is_not_made_of_its_parts() -> None:
    with pytest.raises(AccessDenied, match="lies outside"):
        within(storage("s3://lake/"), LAKE)


def test_an_access_beyond_the_profiles_is_refused_with_what_it_allows() -> None:
    with pytest.raises(
        AccessDenied, match=r"access 'write' of s3://lake/sales/ was asked; the profile allows 'read'"
    ) as caught:
        within(storage("s3://lake/sales", access=Access.WRITE), READER)
    assert caught.value.profile == "reader"


def test_an_access_that_is_not_said_is_read_and_checked_as_such() -> None:
    """Else it would pass a profile to write, and a handle of it could be narrowed to anything."""
    unsaid = CredentialRequest("storage", "lake", (SALES,))
    assert within(unsaid, LAKE) == storage("s3://lake/sales", access=Access.READ)
    with pytest.raises(AccessDenied, match="'read' of s3://lake/sales/ was asked; the profile allows 'write'"):
        within(unsaid, StorageProfile(name="writer", locations=(SALES,), access=Access.WRITE))
    table = CredentialRequest("table", "production", table=("sales", "orders"))
    assert within(table, CATALOG).access is Access.READ


def test_a_table_whose_places_nobody_knows_yet_is_refused_without_them() -> None:
    table = CredentialRequest("table", "production", access=Access.WRITE, table=("sales", "orders"))
    with pytest.raises(AccessDenied) as caught:
        within(table, CatalogProfile(name="production", access=Access.READ))
    assert caught.value.message == "access 'write' was asked; the profile allows 'read'"


def test_without_a_location_the_only_one_is_meant_and_several_are_listed() -> None:
    assert within(storage(), READER).locations == (SALES,)
    with pytest.raises(ConfigurationError, match=r"has several \(s3://lake/sales/, s3://lake/finance/\)") as caught:
        within(storage(), LAKE)
    assert caught.value.profile == "lake"
    with pytest.raises(AccessDenied, match="has no locations, so nothing may be asked for") as denied:
        within(storage(), StorageProfile(name="none"))
    assert denied.value.profile == "none"


def test_a_profile_without_locations_allows_none_and_says_so() -> None:
    with pytest.raises(AccessDenied, match=r"outside what the profile allows \(none\)"):
        within(storage("s3://lake/sales"), StorageProfile(name="none"))


def test_a_table_is_not_measured_by_locations_that_it_does_not_name() -> None:
    table = CredentialRequest("table", "production", access=Access.READ, table=("sales", "orders"))
    assert within(table, CATALOG) == table


def test_a_catalogs_scopes_may_be_fewer_and_not_others() -> None:
    assert within(token("extra"), CATALOG) == token("extra")
    assert within(token("PRINCIPAL_ROLE:ANALYST"), CATALOG).scopes == {"PRINCIPAL_ROLE:ANALYST"}
    with pytest.raises(
        AccessDenied,
        match=r"scope 'admin' is not among the profile's \(PRINCIPAL_ROLE:ANALYST, PRINCIPAL_ROLE:ENGINEER, extra\)",
    ) as caught:
        within(token("extra", "admin"), CATALOG)
    assert caught.value.profile == "production"


def test_a_profile_without_a_scope_says_none() -> None:
    bare = CatalogProfile(name="bare", credentials=CredentialSettings(mode="oauth2"))
    with pytest.raises(AccessDenied, match=r"scope 'x' is not among the profile's \(none\)"):
        within(token("x"), bare)
    assert within(token(), bare) == token()
    assert within(token("x"), CatalogProfile(name="open")) == token("x")  # no credentials: refused later, by their absence


def test_an_audience_that_the_profile_fixes_is_not_anothers() -> None:
    assert within(token(audience="polaris"), CATALOG).audience == "polaris"
    with pytest.raises(AccessDenied, match=r"audience 'other' is not the profile's \('polaris'\)") as caught:
        within(token(audience="other"), CATALOG)
    assert caught.value.profile == "production"
    free = CatalogProfile(name="free", credentials=CredentialSettings(mode="oauth2"))
    assert within(token(audience="any"), free).audience == "any"


def test_two_accesses_share_a_token_unless_the_profile_has_a_scope_for_one() -> None:
    assert within(token(access=Access.WRITE), CatalogProfile(name="c", access=Access.READ_WRITE)).access is Access.WRITE
    catalog = CatalogProfile(name="c", access=Access.READ_WRITE, credentials=CATALOG.credentials)
    assert within(token(access=Access.WRITE), catalog).access is None
    assert within(token(access=Access.READ), catalog).access is Access.READ


# -- scopes ------------------------------------------------------------------------------------------------------------


def test_the_scopes_asked_for_are_the_callers_else_the_accesss_else_the_profiles() -> None:
    assert asked_scopes(token("extra", access=Access.READ), CATALOG) == {"extra"}
    assert asked_scopes(token(access=Access.READ), CATALOG) == {"PRINCIPAL_ROLE:ANALYST"}
    assert asked_scopes(token(access=Access.WRITE), CATALOG) == {"PRINCIPAL_ROLE:ENGINEER", "extra"}
    assert asked_scopes(token(), CATALOG) == {"PRINCIPAL_ROLE:ENGINEER", "extra"}
    assert asked_scopes(token(), CatalogProfile(name="bare")) == frozenset()
    assert asked_scopes(token(), CatalogProfile(name="b", credentials=CredentialSettings(mode="oauth2"))) == frozenset()


def test_all_roles_cover_each_role_and_nothing_else() -> None:
    every = frozenset({"PRINCIPAL_ROLE:ALL"})
    assert covers(every, "PRINCIPAL_ROLE:ANALYST")
    assert covers(frozenset({"extra"}), "extra")
    assert not covers(every, "extra")
    assert not covers(every, "X_PRINCIPAL_ROLE:ANALYST")
    assert not covers(frozenset({"PRINCIPAL_ROLE:ANALYST"}), "PRINCIPAL_ROLE:ENGINEER")


# -- narrowed ----------------------------------------------------------------------------------------------------------


def test_a_handle_is_narrowed_to_some_locations_to_what_lies_below_and_to_less_access() -> None:
    both = storage("s3://lake/sales", "s3://lake/finance", access=Access.READ_WRITE)
    assert narrowed(both, (SALES,), None) == storage("s3://lake/sales", access=Access.READ_WRITE)
    assert narrowed(both, at("s3://lake/sales/x"), Access.READ) == storage("s3://lake/sales/x")
    assert narrowed(both, (), Access.WRITE) == storage("s3://lake/sales", "s3://lake/finance", access=Access.WRITE)
    assert narrowed(both, (), None) == both


@pytest.mark.parametrize("uri", ["s3://lake/", "s3://lake/sales2", "s3://lake/finance"])
def test_a_handle_is_not_narrowed_to_what_it_does_not_hold(uri: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        narrowed(storage("s3://lake/sales"), at("s3://lake/sales/x", uri), None)
    assert caught.value.message == f"{Location.parse(uri)} lies outside what the handle is for (s3://lake/sales/)"
    assert caught.value.profile == "lake"
    with pytest.raises(AccessDenied, match=r"is for \(s3://lake/a/, s3://lake/b/\)"):
        narrowed(storage("s3://lake/a", "s3://lake/b"), at(uri), None)


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (Access.READ, Access.WRITE),
        (Access.WRITE, Access.READ),
        (Access.READ, Access.READ_WRITE),
        (Access.WRITE, Access.READ_WRITE),
    ],
)
def test_a_handle_is_not_narrowed_to_another_access(held: Access, asked: Access) -> None:
    with pytest.raises(AccessDenied) as caught:
        narrowed(storage("s3://lake/sales", access=held), (), asked)
    assert caught.value.message == f"access '{asked}' was asked of a handle for '{held}' of s3://lake/sales/"
    assert caught.value.profile == "lake"


BY_ACCESS = {Access.READ: "analyst", Access.WRITE: "writer", Access.READ_WRITE: "engineer"}


def of(access: Access, **settings: object) -> CatalogProfile:
    block = CredentialSettings(mode="oauth2", **settings)  # type: ignore[arg-type]
    return CatalogProfile(name="production", access=access, credentials=block)


def test_a_scope_of_an_access_that_the_profile_does_not_give_cannot_be_named_either() -> None:
    reader = of(Access.READ, scopes=BY_ACCESS)
    assert within(token("analyst"), reader).scopes == {"analyst"}
    for scope in ("writer", "engineer"):
        with pytest.raises(AccessDenied, match=f"scope '{scope}' is not among the profile's"):
            within(token(scope), reader)
    both = of(Access.READ_WRITE, scopes=BY_ACCESS)
    assert within(token("writer"), both).scopes == {"writer"}
    with pytest.raises(AccessDenied, match="scope 'writer' is not among"):
        within(token("writer", access=Access.READ), both)


def test_without_a_scope_of_its_own_what_is_asked_is_that_of_all_that_the_profile_may_do() -> None:
    assert asked_scopes(token(), of(Access.READ, scopes=BY_ACCESS)) == {"analyst"}
    assert asked_scopes(token(), of(Access.READ_WRITE, scopes=BY_ACCESS)) == {"engineer"}
    assert asked_scopes(token(), of(Access.READ_WRITE, scopes={Access.READ: "analyst"})) == frozenset()


def test_an_audience_adds_nothing_to_a_resource_that_the_profile_fixes() -> None:
    fixed = of(Access.READ, resource=("https://catalog.example",))
    with pytest.raises(AccessDenied, match="fixes what its token is for by 'resource'"):
        within(token(audience="other"), fixed)
    assert within(token(), fixed).audience is None


# -- bases -------------------------------------------------------------------------------------------------------------


def test_a_base_is_got_by_the_profile_that_names_its_own_as_source_and_by_no_other() -> None:
    hub = CredentialRequest("storage", "hub", base="sts:AssumeRole arn")
    chained = StorageProfile(name="lake", credentials=CredentialSettings(mode="iam_role", source_profile=("storage", "hub")))
    check_base(hub, chained)
    check_base(CredentialRequest("storage", "anything"), CATALOG)
    for wanted in (CredentialRequest("storage", "g", base="token"), CredentialRequest("compute", "hub", base="token")):
        with pytest.raises(ConfigurationError, match=r"asked for a base of '(g|hub)', which is for profiles that name it"):
            check_base(wanted, chained)
    with pytest.raises(ConfigurationError, match="asked for a base of 'hub'"):
        check_base(hub, CATALOG)
