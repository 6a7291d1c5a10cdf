"""Limits: whether a request stays inside what its profile allows. Pure, and always asked before any issuer."""

from __future__ import annotations

from dataclasses import replace

from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.location import Location, covering
from credbroker.profile import Profile
from credbroker.request import Access, CredentialRequest

_ALL_ROLES = "PRINCIPAL_ROLE:ALL"
_ROLE = "PRINCIPAL_ROLE:"


def within(request: CredentialRequest, profile: Profile) -> CredentialRequest:
    """The request, completed by what the profile alone can mean. Raises ``AccessDenied`` that says what is allowed."""
    if request.base is not None:
        return request  # asked by the profile's own provider, for which no caller's limits hold
    settings = profile.credentials
    # A role's keys for a catalog are narrowed by access, as those for a store are; a token is by its scope.
    narrowed_by_access = request.kind in ("storage", "table") or (
        request.kind == "catalog" and settings is not None and settings.mode == "iam_role"
    )
    if request.access is None and narrowed_by_access:
        # Before it is checked: what is unsaid would pass a profile to write, and could be narrowed to anything.
        request = replace(request, access=Access.READ)
    if request.kind == "storage":
        request = _with_locations(request, profile)
    if request.access is not None and not profile.access.covers(request.access):
        of = f" of {_named(request.locations)}" if request.locations else ""
        text = f"access {request.access.value!r}{of} was asked; the profile allows {profile.access.value!r}"
        raise AccessDenied(text, profile=profile.name)
    _check_scopes(request, profile)
    if not narrowed_by_access and request.kind == "catalog" and settings and request.access not in settings.scopes:
        # The profile has one token for every access: two requests that differ in it share that token.
        return replace(request, access=None)
    return request


def narrowed(request: CredentialRequest, locations: tuple[Location, ...], access: Access | None) -> CredentialRequest:
    """The request for ``locations`` and ``access`` alone, both as before where none is named.

    Raises ``AccessDenied`` for what the request does not cover: a handle is never widened.
    """
    held = _named(request.locations)
    for location in locations:
        if covering(request.locations, location) is None:
            raise AccessDenied(f"{location} lies outside what the handle is for ({held})", profile=request.profile)
    if access is not None and request.access is not None and not request.access.covers(access):
        raise AccessDenied(
            f"access {access.value!r} was asked of a handle for {request.access.value!r} of {held}", profile=request.profile
        )
    return replace(request, locations=locations or request.locations, access=access or request.access)


def check_base(wanted: CredentialRequest, asking: Profile) -> None:
    """Raise ``ConfigurationError`` if the profile ``asking`` wants a base of another that it does not name as its source.

    A base is wider than anything that is made of it, and no limits hold for it: a plug-in could hand it to its caller.
    """
    settings = asking.credentials
    if wanted.base is not None and (settings is None or (wanted.kind, wanted.profile) != settings.source_profile):
        text = f"its provider asked for a base of {wanted.profile!r}, which is for profiles that name it as source_profile"
        raise ConfigurationError(text, profile=asking.name)


def asked_scopes(request: CredentialRequest, profile: Profile) -> frozenset[str]:
    """The scopes that a token is asked for: the caller's, else the profile's for that access, else its scope."""
    settings = profile.credentials
    if request.scopes or settings is None:
        return request.scopes
    return frozenset(stated_scope(request.access, profile).split())


def stated_scope(access: Access | None, profile: Profile) -> str:
    """The profile's scope for an access: of ``scopes`` its own, else ``scope``, else that of all that the profile may do.

    Asked without any scope an issuer gives what it gives by default, which may be everything.
    """
    settings = profile.credentials
    if settings is None:
        return ""
    own = settings.scopes.get(access, "") if access is not None else ""
    return own or settings.scope or settings.scopes.get(profile.access, "")


def covers(asked: frozenset[str], scope: str) -> bool:
    """Whether ``scope`` is among ``asked``; Polaris' ALL stands for every principal role."""
    return scope in asked or (_ALL_ROLES in asked and scope.startswith(_ROLE))


def _with_locations(request: CredentialRequest, profile: Profile) -> CredentialRequest:
    allowed = _named(profile.locations) or "none"
    if not request.locations:
        if len(profile.locations) > 1:
            raise ConfigurationError(f"name the location: the profile has several ({allowed})", profile=profile.name)
        if not profile.locations:
            raise AccessDenied("the profile has no locations, so nothing may be asked for", profile=profile.name)
        return replace(request, locations=profile.locations)
    for location in request.locations:
        if covering(profile.locations, location) is None:
            raise AccessDenied(f"{location} lies outside what the profile allows ({allowed})", profile=profile.name)
    return request


def _check_scopes(request: CredentialRequest, profile: Profile) -> None:
    """A caller may narrow the scope and, where the profile fixes none, the audience; never add to them."""
    settings = profile.credentials
    if settings is None or request.kind not in ("catalog", "compute"):
        return
    within_access = [
        scope
        for access, scope in settings.scopes.items()
        if profile.access.covers(access) and (request.access is None or request.access.covers(access))
    ]
    allowed = frozenset((settings.scope or "").split()).union(*(scope.split() for scope in within_access))
    for scope in sorted(request.scopes):
        if not covers(allowed, scope):
            raise AccessDenied(f"scope {scope!r} is not among the profile's ({_listed(allowed)})", profile=profile.name)
    if request.audience is not None and settings.audience is None and settings.resource:
        raise AccessDenied(
            f"audience {request.audience!r} was asked, and the profile fixes what its token is for by 'resource'",
            profile=profile.name,
        )
    if request.audience is not None and settings.audience not in (None, request.audience):
        raise AccessDenied(
            f"audience {request.audience!r} is not the profile's ({settings.audience!r})", profile=profile.name
        )


def _named(locations: tuple[Location, ...]) -> str:
    return ", ".join(str(location) for location in locations)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
