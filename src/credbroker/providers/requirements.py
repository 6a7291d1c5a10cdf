"""What settings must say before they are used: checked when a handle is made, by each provider's ``plan``."""

from __future__ import annotations

from urllib.parse import urlsplit

from credbroker.errors import ConfigurationError
from credbroker.hosts import is_loopback
from credbroker.profile import CredentialSettings, Profile


def settings(profile: Profile) -> CredentialSettings:
    """The profile's ``credentials:`` block. Raises ``ConfigurationError`` where it has none, or one of a later version."""
    if profile.credentials is None:
        raise misconfigured(profile, "credentials", "is missing: say how its credentials are issued")
    for key in profile.credentials.unsupported:
        raise misconfigured(profile, f"credentials.{key}", "is not supported by this version of credbroker yet")
    return profile.credentials


def need(profile: Profile, *fields: str) -> None:
    """Raise ``ConfigurationError`` that names the first of ``fields`` which the ``credentials:`` block lacks."""
    block = settings(profile)
    for field in fields:
        if not getattr(block, field):
            raise misconfigured(profile, f"credentials.{field}", f"is missing: mode {block.mode!r} needs it")


def check_url(profile: Profile, field: str, url: str) -> None:
    """Raise ``ConfigurationError`` unless ``url`` is https, or http to loopback, or http where the profile allows it.

    Over plain http anyone on the way reads the secret; in production ``allow_insecure`` is refused for that reason.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise misconfigured(profile, field, "carries userinfo: name the user by client_id and a secret_ref")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise misconfigured(profile, field, "must be an https:// URL")
    if profile.allow_insecure and profile.production:
        raise misconfigured(profile, "allow_insecure", "is refused in production: use https, or set 'environment:'")
    if parts.scheme == "http" and not (is_loopback(parts.hostname) or profile.allow_insecure):
        raise misconfigured(profile, field, "is plain http to another host: use https, or allow_insecure outside production")


def misconfigured(profile: Profile, field: str, fault: str) -> ConfigurationError:
    """The error for a field of a profile, with its place in the file."""
    place = f"{profile.where}: " if profile.where else ""
    section = {"catalog": "catalogs", "storage": "storage", "compute": "compute"}.get(profile.kind, profile.kind)
    return ConfigurationError(f"{place}{section}.{profile.name}.{field} {fault}", profile=profile.name)
