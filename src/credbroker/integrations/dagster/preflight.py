"""What can be known before anything long begins: whether secrets are there, and credentials can be issued."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from credbroker.broker import Broker
from credbroker.config.secrets_named import looked_up_here, secrets_of
from credbroker.errors import ConfigurationError, CredbrokerError, SecretNotFound
from credbroker.profile import CatalogProfile, StorageProfile
from credbroker.request import Access
from credbroker.source import CredentialSource

if TYPE_CHECKING:
    from logging import Logger

_SECTIONS = ("storage", "catalogs", "compute")


def try_at_start(broker: Broker, profiles: Iterable[str] | None, log: Logger | None) -> None:
    """What a run's resource does: issue for ``profiles``, or, for None, look for the secrets.

    Raises what cannot be had. An issuer that may answer later is a warning: an asset's own retries are what decides then.
    """
    if profiles is None:
        look_up_secrets(broker)
        return
    for name in profiles:
        try:
            try_profiles(broker, [name])
        except CredbrokerError as error:
            if not error.retryable:
                raise
            if log is not None:
                log.warning("%s could not be issued for at the start: %s", name, error)


def look_up_secrets(broker: Broker) -> None:
    """Look for every secret that a profile names, where that asks no server; nothing is issued.

    A lease is a login of its own, and is left alone. Of a rotation the first secret must be there, as it must for an issue.
    Raises ``SecretNotFound`` for the first that is nowhere.
    """
    platform = broker._brokerage.platform  # noqa: SLF001
    if not looked_up_here(platform):
        return
    for reference in secrets_of(platform):
        if reference.engine is not None:
            continue
        try:
            broker.resolve(reference)
        except SecretNotFound as error:
            missing = error
        else:
            continue
        remedy = "or, where this deployment does not need that profile, list those that it does in the resource's 'profiles'"
        raise missing.saying(f"{missing.message}; {remedy}")


def try_profiles(broker: Broker, names: Iterable[str]) -> None:
    """Issue for each of ``names``, unless a value is held. Raises what the first issue raised that failed."""
    for name in names:
        for source in sources_of(broker, name):
            source.get()


def check_names(names: Iterable[str]) -> None:
    """Raises ``ConfigurationError`` for what is no section and name; no platform file is read."""
    for name in names:
        _split(name)


def sources_of(broker: Broker, name: str) -> Iterator[CredentialSource[Any]]:
    """What there is to issue for a profile by the name of its section and its own, ``"storage/lake"``.

    Of storage it is the first location that the profile allows, to read where it may. A catalog without a token of its own
    is tried by its storage, and by the secret in its ``uri``. Local files need nothing. Raises ``ConfigurationError``.
    """
    section, own = _split(name)
    if section == "storage":
        profile = broker.profile("storage", own)
        if isinstance(profile, StorageProfile) and profile.type != "local":
            access = Access.READ if profile.access.covers(Access.READ) else profile.access
            yield broker.storage(own, *profile.locations[:1], access=access)
    elif section == "compute":
        yield broker.compute(own)
    else:
        yield from _of_catalog(broker, own)


def _split(name: str) -> tuple[str, str]:
    section, _, own = name.partition("/")
    if section not in _SECTIONS or not own:
        raise ConfigurationError(
            "a profile to try is named by its section and its name: storage/lake, catalogs/production, compute/reporting"
        )
    return section, own


def _of_catalog(broker: Broker, name: str) -> Iterator[CredentialSource[Any]]:
    profile = broker.profile("catalog", name)
    if not isinstance(profile, CatalogProfile) or (profile.type != "sql" and profile.credentials is not None):
        yield broker.catalog(name)
        return
    if profile.uri is not None and not isinstance(profile.uri, str):
        broker.resolve(profile.uri)
    for storage in profile.storage:
        yield from sources_of(broker, f"storage/{storage.name}")
