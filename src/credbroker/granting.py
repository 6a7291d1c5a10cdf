"""Whether what was granted stays inside what was asked. Pure, and asked before anything is handed out."""

from __future__ import annotations

from credbroker import limits
from credbroker.credentials import AccessToken, Credential, TableCredentials
from credbroker.errors import MalformedResponse
from credbroker.location import Location, covering
from credbroker.profile import Profile, StorageProfile
from credbroker.providers.backing import bounds, storage_for
from credbroker.request import Access, CredentialRequest


def check_grant(request: CredentialRequest, profile: Profile, value: Credential) -> None:
    """Refuse a grant that is stated and wider than the request: an issuer that widens cannot be trusted to narrow."""
    if not isinstance(value, Credential):
        raise MalformedResponse(f"the provider returned {type(value).__name__}, which is no credential")
    if request.base is not None:
        return
    if isinstance(value, AccessToken):
        scopes = limits.asked_scopes(request, profile)
        wider = sum(not limits.covers(scopes, scope) for scope in value.scopes) if scopes else 0
        if wider:
            raise MalformedResponse(
                f"the issuer granted {wider} more scope(s) than the {len(scopes)} that were asked for: have it grant what "
                "is asked, or name in credentials.scope what this client always gets"
            )
        return
    asked = request.locations or bounds(profile)
    if isinstance(value, TableCredentials):
        # What each of its keys reaches is held to the prefixes, which are all that it says; and these to the profile.
        _check_locations(value.prefixes, asked)
        for prefix, held in value.by_location:
            _check_reach(request, held, value.prefixes, storage_for(profile, prefix))
    else:
        _check_reach(request, value, asked, profile)


def _check_reach(
    request: CredentialRequest, value: Credential, asked: tuple[Location, ...] | None, granting: Profile | None
) -> None:
    granted: tuple[Location, ...] = getattr(value, "locations", None) or ()
    if isinstance(granting, StorageProfile) and granting.allow_container_scope:
        held = [
            location for location in asked or () if location.scheme == "abfss" and covering(granting.locations, location)
        ]
        containers = {location.bucket for location in held}
        granted = tuple(location for location in granted if location.key or location.bucket not in containers)
    _check_locations(granted, asked)
    access: Access | None = getattr(value, "access", None)
    if access is not None and request.access is not None and not request.access.covers(access):
        raise MalformedResponse(
            f"the issuer granted access {access.value!r}{_of(value)}, wider than {request.access.value!r}: ask for that, or "
            "have less granted (by a catalog, to a principal with no more than that: credentials.scopes)"
        )


def _of(value: Credential) -> str:
    granted: tuple[Location, ...] = getattr(value, "locations", None) or ()
    return f" of {', '.join(str(location) for location in granted)}" if granted else ""


def _check_locations(granted: tuple[Location, ...], asked: tuple[Location, ...] | None) -> None:
    for location in granted:
        if asked is not None and covering(asked, location) is None:
            named = ", ".join(str(place) for place in asked) or "nothing"
            raise MalformedResponse(f"the issuer granted {location}, outside what was asked ({named}): have it grant less")
