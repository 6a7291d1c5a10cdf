"""The rules of a binding: its name, the profile that it names, and that it asks for nothing beyond that profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from credbroker import limits
from credbroker.config.bound import SECTIONS, Bound, bounds
from credbroker.config.faults import HIDDEN, MOST, Fault
from credbroker.config.forms import form
from credbroker.config.references import hint
from credbroker.config.sections import CatalogConfig, StorageConfig
from credbroker.config.tree import Node
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.location import Location, covering
from credbroker.profile import CatalogProfile, CredentialSettings
from credbroker.request import Access, CredentialRequest

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
# A binding's name is the first step of its addresses, and the name of the file that its token is in.
_RESERVED = frozenset({"healthz", "readyz", "status", "metrics", "computemetadata", "sidecar"})
_BELONGS = {
    "locations": ("storage",),
    "access": ("storage", "catalog"),
    "table": ("catalog",),
    "scope": ("catalog",),
    "audience": ("catalog",),
}
_LISTED = 10
_LIMITS = ("locations", "table", "scope")


def broken_bindings(tree: Node) -> Iterator[Fault]:
    """Bindings that are misnamed, that name no profile, or that go beyond it."""
    found = bounds(tree)
    yield from _profiles(found, tree)
    for bound in found:
        for rule in (_name, _keys, _access, _locations, _scope):
            yield from rule(bound)


def _profiles(found: list[Bound], tree: Node) -> Iterator[Fault]:
    broken = 0
    for bound in found:
        target = bound.target
        if bound.key is None:
            yield bound.fault("must name one profile, by exactly one of storage, catalog and compute")
        elif target is not None and target.node is None:
            broken += 1
            elsewhere = [one for one in SECTIONS.values() if tree.find((one, target.name)) is not None]
            more = ""
            if elsewhere:
                more = f": one of that name stands under {elsewhere[0]}"
            elif broken <= MOST:  # to find the name that was meant takes as long as there are names
                more = hint(target.name, tree, (target.section,))
            yield bound.fault(f"names no profile under {target.section}{more}", bound.key)


def _name(bound: Bound) -> Iterator[Fault]:
    if not _NAME.fullmatch(bound.name):
        yield bound.fault("is no legal name of a binding: a small letter, then small letters, digits or '-', 63 in all")
    elif bound.name in _RESERVED:
        yield bound.fault("is a name that the sidecar itself uses: give the binding another")


def _keys(bound: Bound) -> Iterator[Fault]:
    for key, places in _BELONGS.items():
        if key not in bound.node.entries():
            continue
        if key in _LIMITS and bound.value(key) in (None, [], ""):
            yield bound.fault("has nothing after it, and is no limit so: say what it is, or leave the key out", key)
        elif bound.key is not None and bound.key not in places and bound.value(key) is not None:
            yield bound.fault(f"belongs to a binding of {' or '.join(places)}: leave it out", key)
        elif key in ("scope", "audience") and bound.value("table") is not None and bound.value(key) is not None:
            yield bound.fault("is for the token of the catalog, and a table has keys: leave it out", key)


def _asked(bound: Bound) -> Access | None:
    value = bound.value("access")
    return Access.READ if value is None else next((access for access in Access if access.value == value), None)


def _allowed(bound: Bound) -> Access | None:
    """The most that the profile allows, as it is compiled; None where that cannot be told, or there is no such limit."""
    config = bound.target.config if bound.target is not None else None
    if isinstance(config, StorageConfig):
        return config.access or Access.READ
    return (config.access or Access.READ_WRITE) if isinstance(config, CatalogConfig) else None


def _access(bound: Bound) -> Iterator[Fault]:
    asked, allowed = _asked(bound), _allowed(bound)
    if asked is not None and allowed is not None and not allowed.covers(asked):
        default = "" if bound.value("access") is not None else " where it is not said"
        yield bound.fault(f"is {asked.value!r}{default}, and the profile allows {allowed.value!r}", "access")


def _locations(bound: Bound) -> Iterator[Fault]:
    if bound.target is None or not isinstance(bound.target.config, StorageConfig):
        return
    allowed = bound.target.locations
    if not allowed:
        yield bound.fault("names a profile without locations, of which nothing may be asked", "storage")
        return
    if len(allowed) > 1 and "locations" not in bound.node.entries():
        yield bound.fault(f"must say its locations, as the profile has several: {_listed(allowed)}")
    for path, item in bound.items("locations"):
        location = _parsed(item.value)
        if location is not None and covering(allowed, location) is None:
            yield Fault(item, path, f"lies outside what the profile allows ({_listed(allowed)})")


def _listed(allowed: tuple[Location, ...]) -> str:
    # A credential that was pasted into a location is a fault of its own, and not to be shown by this one.
    shown = ", ".join(HIDDEN if form(str(one)) else str(one) for one in allowed[:_LISTED])
    return f"{shown} and {len(allowed) - _LISTED} more" if len(allowed) > _LISTED else shown


def _parsed(text: object) -> Location | None:
    try:
        return Location.parse(text) if isinstance(text, str) else None
    except ConfigurationError:
        return None  # the field's own check says so


def _scope(bound: Bound) -> Iterator[Fault]:
    is_token = bound.key == "catalog" and bound.value("table") is None
    config = bound.target.config if bound.target is not None and is_token else None
    credentials = config.credentials if config is not None else None
    access, allowed = _asked(bound), _allowed(bound)
    if credentials is None or access is None or allowed is None or not allowed.covers(access):
        return
    settings = CredentialSettings(
        mode=credentials.mode,
        scope=credentials.scope or None,
        scopes=credentials.scopes or {},
        audience=credentials.audience or None,
        resource=tuple(credentials.resource or ()),
    )
    profile = CatalogProfile(name="", access=allowed, credentials=settings)
    request = CredentialRequest("catalog", "", access=access)
    scope, audience = bound.value("scope"), bound.value("audience")
    # Asked of the limits that every request meets, so that the two can never differ.
    if isinstance(scope, str) and not _within(replace(request, scopes=frozenset(scope.split())), profile):
        yield bound.fault("goes beyond the profile's scope for that access: leave out what the profile lacks", "scope")
    if isinstance(audience, str) and not _within(replace(request, audience=audience or None), profile):
        yield bound.fault("is another than the profile fixes: leave it out", "audience")


def _within(request: CredentialRequest, profile: CatalogProfile) -> bool:
    try:
        limits.within(request, profile)
    except AccessDenied:
        return False
    return True
