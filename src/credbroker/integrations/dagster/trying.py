"""Trying profiles: one real issue each, before anything long begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from credbroker.broker import Broker
from credbroker.errors import ConfigurationError
from credbroker.profile import CatalogProfile, StorageProfile
from credbroker.request import Access
from credbroker.source import CredentialSource


def try_profiles(broker: Broker, names: Iterable[str]) -> None:
    """Issue for each of ``names``, unless a value is held. Raises what the first issue raised that failed."""
    for name in names:
        for source in sources_of(broker, name):
            source.get()


def sources_of(broker: Broker, name: str) -> Iterator[CredentialSource[Any]]:
    """What there is to issue for a profile by the name of its section and its own, ``"storage/lake"``.

    Of storage it is the first location that the profile allows, to read where it may. A catalog without a token of its own
    is tried by its storage, and by the secret in its ``uri``. Local files need nothing. Raises ``ConfigurationError``.
    """
    section, _, own = name.partition("/")
    if section == "storage" and own:
        profile = broker.profile("storage", own)
        if isinstance(profile, StorageProfile) and profile.type != "local":
            access = Access.READ if profile.access.covers(Access.READ) else profile.access
            yield broker.storage(own, *profile.locations[:1], access=access)
    elif section == "compute" and own:
        yield broker.compute(own)
    elif section == "catalogs" and own:
        yield from _of_catalog(broker, own)
    else:
        raise ConfigurationError(
            "a profile to try is named by its section and its name: storage/lake, catalogs/production, compute/reporting"
        )


def _of_catalog(broker: Broker, name: str) -> Iterator[CredentialSource[Any]]:
    profile = broker.profile("catalog", name)
    if not isinstance(profile, CatalogProfile) or (profile.type != "sql" and profile.credentials is not None):
        yield broker.catalog(name)
        return
    if profile.uri is not None and not isinstance(profile.uri, str):
        broker.resolve(profile.uri)
    for storage in profile.storage:
        yield from sources_of(broker, f"storage/{storage.name}")
