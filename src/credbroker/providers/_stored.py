"""The storage profiles' credentials for a table of which the catalog vends none."""

from __future__ import annotations

from credbroker.context import Context
from credbroker.credentials import ADLSCredentials, GCSCredentials, S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import AccessDenied, ConfigurationError, CredbrokerError
from credbroker.location import Location, outermost
from credbroker.profile import CatalogProfile
from credbroker.providers.backing import check_within, storage_for
from credbroker.request import Access, CredentialRequest


def from_storage(
    places: tuple[Location, ...], profile: CatalogProfile, request: CredentialRequest, context: Context
) -> TableCredentials:
    """One request to each storage profile, for all the places that it contains; on ADLS, where a SAS opens one, for each."""
    wanted: dict[tuple[str, Location | None], list[Location]] = {}
    for location in outermost(places):
        storage = storage_for(profile, location)
        if storage is None:
            known = "; ".join(
                f"{each.name}: {', '.join(str(place) for place in each.locations) or 'no location'}"
                for each in profile.storage
            )
            raise AccessDenied(
                f"the catalog vends no credentials for the table's files at {location}, and no storage profile has it "
                f"({known or 'it has none'}): name one in its 'storage:', or let the catalog vend"
            )
        alone = location if location.scheme == "abfss" else None
        wanted.setdefault((storage.name, alone), []).append(location)
    check_within(places[0], "location", profile)
    by_location: list[tuple[Location, StorageCredentials]] = []
    for (name, _), locations in wanted.items():
        asked = tuple(sorted(locations, key=str))
        value = _stored(name, asked, profile, request, context)
        by_location.extend((location, value) for location in asked)
    return TableCredentials(tuple(by_location))


def _stored(
    name: str, locations: tuple[Location, ...], profile: CatalogProfile, request: CredentialRequest, context: Context
) -> StorageCredentials:
    wanted = CredentialRequest(
        kind="storage",
        profile=name,
        locations=locations,
        access=request.access or Access.READ,
        principal=request.principal,
        actor=request.actor,
        run_id=request.run_id,
        lineage=request.lineage,
    )
    try:
        value = context.get(wanted)
    except CredbrokerError as error:
        # Else the text would speak of a storage profile that the caller never named.
        why = "no keys are asked of the catalog" if profile.access_delegation == "none" else "the catalog vends nothing"
        table = ".".join(request.table or ())
        raise error.saying(f"{why} for {table}; its storage profile {name!r} is used: {error.message}") from None
    if not isinstance(value, S3Credentials | GCSCredentials | ADLSCredentials):
        raise ConfigurationError(f"storage.{name} yields no storage credentials")
    return value
