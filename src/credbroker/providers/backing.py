"""What stands behind a catalog: the storage profiles that it names, and where a table's files may lie by them. Pure."""

from __future__ import annotations

from credbroker.errors import MalformedResponse
from credbroker.location import Location, covering
from credbroker.profile import CatalogProfile, Profile, StorageProfile


def bounds(profile: Profile) -> tuple[Location, ...] | None:
    """The profile's locations, else those of its storage profiles. Empty allows nothing.

    None: the file names neither for this catalog, so that what the catalog says of its tables is believed.
    """
    if profile.locations or not isinstance(profile, CatalogProfile) or profile.locations_stated:
        return profile.locations
    return _of_storage(profile) if profile.storage else None


def storage_for(profile: Profile, location: Location) -> StorageProfile | None:
    """The storage profile that contains ``location``; the longest of the catalog's locations decides between two."""
    stores = profile.storage if isinstance(profile, CatalogProfile) else (profile,)
    chosen: tuple[int, StorageProfile] | None = None
    for storage in stores:
        found = covering(storage.locations, location)
        if isinstance(storage, StorageProfile) and found and (chosen is None or len(found.segments) > chosen[0]):
            chosen = (len(found.segments), storage)
    return chosen[1] if chosen else None


def beyond(profile: CatalogProfile, location: Location) -> str | None:
    """What to say of a location that the profile does not allow, with the remedy; None where it does."""
    allowed = bounds(profile)
    if allowed is None or covering(allowed, location) is not None:
        return None
    fields = [f"storage.{storage.name}.locations" for storage in profile.storage]
    if allowed != _of_storage(profile):
        fields = [f"catalogs.{profile.name}.locations"]
    return (
        f"outside of what its profile allows ({', '.join(str(bound) for bound in allowed) or 'nothing'}): "
        f"if that is where the table belongs, add it to {' or '.join(fields)}"
    )


def check_within(location: Location, use: str, profile: CatalogProfile) -> None:
    """Raise ``MalformedResponse`` for a place that a catalog names and its profile does not allow."""
    fault = beyond(profile, location)
    if fault is not None:
        raise MalformedResponse(f"the catalog names {location} as the table's {use}, {fault}")


def _of_storage(profile: CatalogProfile) -> tuple[Location, ...]:
    return tuple(dict.fromkeys(location for storage in profile.storage for location in storage.locations))
