"""What settings must say before they are used: checked when a handle is made, by each provider's ``plan``."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Literal

from credbroker.context import Context
from credbroker.errors import ConfigurationError
from credbroker.hosts import url_fault
from credbroker.profile import CatalogProfile, CredentialSettings, Profile
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from credbroker.secrets.reference import SecretReference

IN_PRODUCTION = "in production (which an absent 'environment:' means)"
"""The end of every refusal that holds there only: who never wrote the word must learn where it came from."""
# RFC 6749 section 3.2: a token endpoint's URL may have a query. To all others a path is added.
_MAY_HAVE_QUERY = "credentials.token_url"
_REST_TYPES = ("rest", "polaris")
# Read by the broker itself, whatever the method.
_OF_ANY = ("mode", "timeout", "default_ttl", "reread_interval", "options")
# AWS's own: they are asked with signed requests, and so with a role's keys.
_SIGNED_TYPES = ("glue", "s3tables")


def settings(profile: Profile) -> CredentialSettings:
    """The profile's ``credentials:`` block. Raises ``ConfigurationError`` where it has none."""
    if profile.credentials is None:
        raise misconfigured(profile, "credentials", "is missing: say how its credentials are issued")
    return profile.credentials


def need(profile: Profile, *fields: str) -> None:
    """Raise ``ConfigurationError`` that names the first of ``fields`` which the ``credentials:`` block lacks."""
    block = settings(profile)
    for field in fields:
        if not getattr(block, field):
            raise misconfigured(profile, f"credentials.{field}", f"is missing: mode {block.mode!r} needs it")


def takes(profile: Profile, *taken: str, by: str) -> None:
    """Raise ``ConfigurationError`` that names the first field stated in ``credentials:`` which is none of ``taken``.

    Dropped in silence it would be taken for a condition that holds (an external id, a scope, an audience). ``by`` completes
    "is not used".
    """
    block = settings(profile)
    # Sent with each request to the catalog, whoever issues the token.
    sent = ("realm",) if isinstance(profile, CatalogProfile) and profile.type in _REST_TYPES else ()
    for field in fields(block):
        unset = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name not in (*_OF_ANY, *sent, *taken) and getattr(block, field.name) != unset:
            raise misconfigured(profile, f"credentials.{field.name}", f"is not used {by}: leave it out")


def no_audience(request: CredentialRequest, issuer: str) -> None:
    """Raise ``ConfigurationError`` for an audience asked of an ``issuer`` that has none to give.

    Dropped in silence, the trail would show a value as bound to an audience though it opens everything.
    """
    if request.audience is not None:
        raise ConfigurationError(
            f"audience {request.audience!r} cannot be asked of {issuer}: leave it out", profile=request.profile
        )


def check_profile(profile: Profile) -> None:
    """Raise ``ConfigurationError`` for what no mode could make work: pure, and to be asked whatever the request is.

    That is ``allow_insecure`` in production, a catalog's type that this version loads but cannot use, or not with its mode,
    and a literal ``uri`` or ``endpoint`` that secrets may not be sent to. A ``sql`` catalog's uri is a database's, which is
    not looked at.
    """
    _check_insecure(profile)
    if isinstance(profile, CatalogProfile):
        used = (*_REST_TYPES, "sql", *_SIGNED_TYPES)
        if profile.type not in used:
            fault = f"{profile.type!r} is not supported by this version of credbroker: use one of {', '.join(used)}"
            raise misconfigured(profile, "type", fault)
        mode = profile.credentials.mode if profile.credentials is not None else None
        if profile.type in _SIGNED_TYPES and mode != "iam_role":
            fault = f"is {mode!r}: a catalog of type {profile.type!r} takes signed requests alone, so use 'iam_role'"
            raise misconfigured(profile, "credentials.mode", fault)
        if profile.type != "sql" and isinstance(profile.uri, str):
            check_url(profile, "uri", profile.uri)
    if isinstance(profile.endpoint, str):
        check_url(profile, "endpoint", profile.endpoint)


def check_url(profile: Profile, field: str, url: str) -> None:
    """Raise ``ConfigurationError`` unless ``url`` is https, or http to loopback, or http where the profile allows it.

    Over plain http anyone on the way reads the secret; in production ``allow_insecure`` is refused for that reason.
    """
    _check_insecure(profile)
    fault = url_fault(url, query=field == _MAY_HAVE_QUERY, plain=profile.allow_insecure)
    if fault is not None:
        insecure = ", or allow_insecure outside production" if "plain http" in fault else ""
        raise misconfigured(profile, field, fault + insecure)


def resolved_url(profile: Profile, field: Literal["endpoint", "uri"], context: Context) -> str | None:
    """The profile's ``field``; where it is a reference, what that resolves to now, checked as ``check_url`` does."""
    stated: str | SecretReference | None = getattr(profile, field)
    if stated is None or isinstance(stated, str):
        return stated
    url = context.secrets.resolve(stated).get_secret_value()
    check_url(profile, field, url)
    return url


def _check_insecure(profile: Profile) -> None:
    if profile.allow_insecure and profile.production:
        raise misconfigured(profile, "allow_insecure", f"is refused {IN_PRODUCTION}: use https, or set 'environment:'")


def misconfigured(profile: Profile, field: str, fault: str) -> ConfigurationError:
    """The error for a field of a profile, with its place in the file."""
    place = f"{profile.where}: " if profile.where else ""
    section = {"catalog": "catalogs", "storage": "storage", "compute": "compute"}.get(profile.kind, profile.kind)
    return ConfigurationError(f"{place}{section}.{profile.name}.{field} {fault}", profile=profile.name)
