"""The provider seam: what issues credentials, and how a mode's provider is found.

A provider issues and nothing else: it holds no value, logs no secret and never retries (the one exception: once more with
the second secret of a rotation after ``invalid_client``). Holding, refreshing, limits and audit are the broker's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.location import Location
from credbroker.profile import Profile
from credbroker.request import Access, CredentialRequest

GROUP = "credbroker.providers"
RESERVED = frozenset({"static", "oauth2", "iam_role", "service_account", "catalog"})
_OWN_PACKAGE = "credbroker.providers."


@dataclass(frozen=True, slots=True)
class Grant:
    """What would be granted, without asking anybody. What is not known beforehand is None."""

    policy: Mapping[str, object] | None = None
    """What the issuer is to enforce, as data: an IAM session policy, an access boundary, or the fields of a SAS."""
    locations: tuple[Location, ...] | None = None
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """What became of a credential that was to be revoked. ``runbook`` says what a human does where it was not."""

    revoked: bool
    reason: str
    runbook: str | None = None


class Provider(Protocol):
    """Issues credentials in one mode.

    A provider whose issuer takes credentials back has one method more, ``revoke(value, request, context) -> Revocation``.
    It raises a ``CredbrokerError`` where the issuer could not be asked.
    """

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        """Ask the issuer once, by the settings in ``context.profile``, within ``context.remaining()`` seconds."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """What ``issue`` would ask for: pure, no I/O. Raises ``ConfigurationError`` for settings that cannot work."""


def load(mode: str, plugins: tuple[str, ...] = ()) -> Provider:
    """The provider of that mode. Only the named entry point is imported; a plug-in's only if ``plugins`` lists it.

    Raises ``ConfigurationError`` for an unknown mode, a plug-in that is unlisted, absent or broken, or two distributions
    that claim one name.
    """
    from importlib.metadata import (
        entry_points,  # a quarter of this package's import time, and not needed before a first issue
    )

    found = list(entry_points(group=GROUP, name=mode))
    if mode in RESERVED:
        # A distribution that registers a built-in's name would be handed that mode's secrets.
        foreign = [entry for entry in found if not entry.value.startswith(_OWN_PACKAGE)]
        if foreign:
            raise ConfigurationError(f"the entry point {foreign[0].value!r} claims the built-in mode {mode!r}: uninstall it")
    elif mode not in plugins:
        known = ", ".join(sorted(RESERVED))
        raise ConfigurationError(f"unknown mode {mode!r}: use one of {known}, or list the plug-in under 'plugins:'")
    distinct = {entry.value: entry for entry in found}
    if not distinct:
        raise ConfigurationError(_absent(mode))
    if len(distinct) > 1:
        claims = ", ".join(sorted(distinct))
        raise ConfigurationError(f"two entry points claim the mode {mode!r} ({claims}): uninstall one")
    (entry,) = distinct.values()
    try:
        provider: Provider = entry.load()()
        failure = None if callable(getattr(provider, "issue", None)) else f"is {type(provider).__name__}, without issue()"
    except ConfigurationError as error:
        raise error.fresh() from None  # its own word on what it lacks
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        raise ConfigurationError(
            f"mode {mode!r} could not be loaded: its provider {entry.value!r} raised {type(error).__name__}"
        ) from None
    if failure is not None:
        raise ConfigurationError(f"mode {mode!r} could not be loaded: its provider {entry.value!r} {failure}")
    return provider


def planned(provider: Provider, request: CredentialRequest, profile: Profile) -> Grant | None:
    """What ``provider`` plans; None where it has no ``plan``, or does not say. Raises ``CredbrokerError`` and nothing else.

    A plug-in's ``plan`` runs in the caller's own thread, whose code expects credbroker's errors.
    """
    plan = getattr(provider, "plan", None)
    if plan is None:
        return None
    try:
        grant = plan(request, profile)
    except (CredbrokerError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        failure = f"failed with {type(error).__name__} when it was asked what it would grant"
    else:
        if grant is None or isinstance(grant, Grant):
            return grant
        failure = f"answered with {type(grant).__name__} instead of a Grant when it was asked what it would grant"
    raise ConfigurationError(f"the provider {type(provider).__name__} {failure}", profile=profile.name)


def _absent(mode: str) -> str:
    if mode in RESERVED:
        return f"mode {mode!r} is missing from this installation: install credbroker-data anew"
    return f"the plug-in {mode!r} is listed under 'plugins:' but no installed distribution provides it"
