"""Where the files of a catalog's tables may lie, and which storage profile opens a place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from credbroker import arguments
from credbroker.errors import AccessDenied
from credbroker.location import Location
from credbroker.profile import CatalogProfile
from credbroker.providers import backing
from credbroker.request import Access, CredentialRequest

if TYPE_CHECKING:
    from credbroker.broker import Broker
    from credbroker.credentials import StorageCredentials
    from credbroker.source import CredentialSource


def storage_for(
    broker: Broker, catalog: str, location: str | Location, access: Access | str = Access.READ
) -> CredentialSource[StorageCredentials]:
    """Credentials for a location by the storage profile of that catalog which contains it, the longest first.

    Raises ``AccessDenied``, on record, where none contains it or the catalog's own ``locations`` do not.
    """
    profile = broker.profile("catalog", catalog)
    wanted = Location.parse(location)
    storage = backing.storage_for(profile, wanted) if isinstance(profile, CatalogProfile) else None
    if storage is None:
        held = profile.storage if isinstance(profile, CatalogProfile) else ()
        allowed = ", ".join(f"{one.name}: {place}" for one in held for place in one.locations) or "none"
        why = f"no storage profile of the catalog contains {wanted} (it has {allowed})"
        _refuse(broker, catalog, wanted, access, why)
    check_table_location(broker, catalog, wanted, access)
    return broker.storage(storage.name, wanted, access=access)


def check_table_location(broker: Broker, catalog: str, location: str | Location, access: Access | str = Access.READ) -> None:
    """Check that files of that catalog's tables may lie there.

    Raises ``AccessDenied``, on record, where its ``locations`` or those of its storage profiles do not contain it.
    """
    profile = broker.profile("catalog", catalog)
    wanted = Location.parse(location)
    fault = backing.beyond(profile, wanted) if isinstance(profile, CatalogProfile) else None
    if fault is not None:
        _refuse(broker, catalog, wanted, access, f"the table's files would lie at {wanted}, {fault}")


def _refuse(broker: Broker, catalog: str, location: Location, access: Access | str, why: str) -> NoReturn:
    error = AccessDenied(why, profile=catalog)
    request = broker._mine(CredentialRequest("table", catalog, (location,), arguments.access(access)))  # noqa: SLF001
    brokerage = broker._brokerage  # noqa: SLF001
    brokerage.trail.refused(replace(request, principal=brokerage.platform.principal), error)
    raise error
