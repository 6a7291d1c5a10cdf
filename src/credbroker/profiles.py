"""The profiles of a platform: by section and name, what each depends on, and the mode that it issues by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from credbroker.errors import ConfigurationError
from credbroker.profile import CatalogProfile, Profile, StorageProfile
from credbroker.providers.requirements import misconfigured
from credbroker.request import CredentialRequest, Kind

if TYPE_CHECKING:
    from credbroker.config import Platform

SECTIONS: dict[Kind, str] = {"catalog": "catalogs", "table": "catalogs", "storage": "storage", "compute": "compute"}
_KINDS: dict[str, Kind] = {"catalogs": "catalog", "storage": "storage", "compute": "compute"}


def sections(platform: Platform) -> dict[str, Mapping[str, Profile]]:
    """The profiles of each section."""
    return {"catalogs": platform.catalogs, "storage": platform.storage, "compute": platform.compute}


def profile_of(platform: Platform, kind: Kind, name: str) -> Profile:
    """The profile of that name.

    Raises ``ConfigurationError`` that says where that name does exist: sections are never searched across.
    """
    of = sections(platform)
    section = SECTIONS[kind]
    profile = of[section].get(name)
    if profile is not None:
        return profile
    elsewhere = [other for other, profiles in of.items() if name in profiles]
    hint = (
        f"it exists under {' and '.join(elsewhere)}"
        if elsewhere
        else f"there are: {', '.join(sorted(of[section])) or 'none'}"
    )
    raise ConfigurationError(f"no profile {name!r} under {section}; {hint}", profile=name)


def named(platform: Platform, name: str) -> list[Profile]:
    """Every profile of that name, in whatever section. Raises ``ConfigurationError`` where there is none."""
    found = [profiles[name] for profiles in sections(platform).values() if name in profiles]
    if not found:
        known = sorted({known for profiles in sections(platform).values() for known in profiles})
        raise ConfigurationError(f"no profile {name!r}; there are: {', '.join(known) or 'none'}", profile=name)
    return found


def fingerprint_of(profile: Profile, platform: Platform) -> str:
    """A hash over all that its credentials depend on: its settings, and those of the profiles that it names."""
    parts = [profile.fingerprint()]
    below = [sections(platform)[section][name] for section, name in _named_by(profile)]
    if isinstance(profile, CatalogProfile):
        below += profile.storage  # a table's credentials may be theirs
    parts += [fingerprint_of(one, platform) for one in below]
    return ".".join(parts)


def made_of(request: CredentialRequest, source: tuple[str, str], platform: Platform) -> bool:
    """Whether what is issued for ``request`` is of the profile ``source`` (section and name), or made of its credential.

    A table's is made of its catalog's token, or of the credentials of one of its storage profiles.
    """
    own = (SECTIONS[request.kind], request.profile)
    if own == source:
        return True
    profile = sections(platform)[own[0]].get(own[1])
    if profile is None:
        return False
    if request.kind == "table" and isinstance(profile, CatalogProfile):
        if any(made_of(CredentialRequest("storage", one.name), source, platform) for one in profile.storage):
            return True
        if made_of(CredentialRequest("catalog", profile.name), source, platform):
            return True
    return any(made_of(CredentialRequest(_KINDS[section], name), source, platform) for section, name in _named_by(profile))


def _named_by(profile: Profile) -> list[tuple[str, str]]:
    """The other profiles, by section and name, whose credentials its own are made of."""
    block = profile.credentials
    if block is None:
        return []
    shown = [token.profile for token in (block.subject_token, block.client_assertion) if token is not None]
    return [(SECTIONS[other[0]], other[1]) for other in (block.source_profile, *shown) if other is not None]


def mode_of(request: CredentialRequest, profile: Profile) -> str:
    """The mode that a request is issued by. Raises ``ConfigurationError`` for a profile that has none."""
    if request.kind == "table":
        return "catalog"
    if isinstance(profile, StorageProfile) and profile.type == "local":
        raise misconfigured(profile, "type", "is 'local': local files need no credential")
    if isinstance(profile, CatalogProfile) and profile.type == "sql":
        raise misconfigured(
            profile, "type", "is 'sql': a database has no token; open it with load_catalog or BrokerSqlCatalog"
        )
    if profile.credentials is None:
        raise misconfigured(profile, "credentials", "is missing: say how its credentials are issued")
    return profile.credentials.mode
