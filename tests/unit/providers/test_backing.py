from __future__ import annotations

import pytest

from credbroker.location import Location
from credbroker.profile import CatalogProfile, ComputeProfile, StorageProfile
from credbroker.providers.backing import beyond, bounds, storage_for


def places(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


WIDE = StorageProfile(name="wide", locations=places("s3://lake"))
NEAR = StorageProfile(name="near", locations=places("s3://lake/wh", "s3://pond/x"))


def catalog(*storage: StorageProfile, locations: tuple[Location, ...] = ()) -> CatalogProfile:
    return CatalogProfile(name="production", storage=storage, locations=locations)


def test_the_bounds_of_a_catalog_are_its_own_locations_else_those_of_its_storage() -> None:
    assert bounds(catalog(WIDE, NEAR, locations=places("s3://lake/wh/sales"))) == places("s3://lake/wh/sales")
    assert bounds(catalog(WIDE, NEAR)) == places("s3://lake", "s3://lake/wh", "s3://pond/x")
    assert bounds(catalog()) is None  # nobody has said: the catalog is believed
    assert bounds(catalog(StorageProfile(name="nowhere"))) == ()
    assert bounds(CatalogProfile(name="production", storage=(NEAR,), locations_stated=True)) == ()
    assert bounds(NEAR) == NEAR.locations
    assert bounds(ComputeProfile(name="db")) == ()


def test_the_storage_profile_with_the_longest_location_serves() -> None:
    for stores in ((WIDE, NEAR), (NEAR, WIDE)):
        found = {uri: storage_for(catalog(*stores), Location.parse(uri)) for uri in ("s3://lake/wh/a", "s3://lake/wh2/a")}
        assert list(found.values()) == [NEAR, WIDE]
        assert storage_for(catalog(*stores), Location.parse("s3://pond")) is None
    assert storage_for(catalog(NEAR, StorageProfile(name="twin", locations=NEAR.locations)), NEAR.locations[0]) is NEAR
    assert storage_for(NEAR, Location.parse("s3://pond/x/y")) is NEAR
    assert storage_for(NEAR, Location.parse("s3://lake")) is None
    assert storage_for(ComputeProfile(name="db", locations=places("s3://lake")), Location.parse("s3://lake/x")) is None


@pytest.mark.parametrize("place", ["s3://lake/wh2", "s3://lake", "s3://other/wh", "gs://lake/wh"])
def test_what_is_beyond_is_said_with_the_remedy(place: str) -> None:
    near = StorageProfile(name="near", locations=places("s3://lake/wh"))
    for of, field in (
        (catalog(near), "storage.near.locations"),
        (catalog(near, locations=near.locations), "storage.near.locations"),  # as a file without locations of its own reads
        (catalog(WIDE, locations=near.locations), "catalogs.production.locations"),
    ):
        text = f"outside of what its profile allows (s3://lake/wh/): if that is where the table belongs, add it to {field}"
        assert beyond(of, Location.parse(place)) == text
        assert beyond(of, Location.parse("s3://lake/wh/a")) is None
    assert beyond(catalog(), Location.parse(place)) is None
