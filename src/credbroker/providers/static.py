"""Mode ``static``: a token or a key pair that stands in a secret. It has no end; it is read again at an interval."""

from __future__ import annotations

import json
import re

from pydantic import SecretStr

from credbroker.context import Context
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers.requirements import IN_PRODUCTION, check_profile, misconfigured, need, resolved_url, settings
from credbroker.request import CredentialRequest

_VISIBLE = re.compile(r"[\x21-\x7e]+")  # what reaches a header unchanged and cannot begin another one
_FIELDS = ("access_key_id", "secret_access_key", "session_token")
_SHAPE = "must hold ACCESS:SECRET or ACCESS:SECRET:TOKEN, or access_key_id, secret_access_key and perhaps session_token"


class StaticProvider:
    """Issues what the secret holds: an ``AccessToken`` for a catalog, ``S3Credentials`` for storage."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``. Nothing narrows static keys: a profile must say ``allow_unscoped`` to hand them out."""
        need(profile, "secret_ref")
        if isinstance(profile, StorageProfile):
            _check_storage(profile)
        elif profile.kind != "catalog":
            raise misconfigured(profile, "credentials.mode", "is static, which serves catalogs and storage only")
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken | S3Credentials:
        """See ``Provider.issue``. Raises ``SecretNotFound``, or ``ConfigurationError`` for its shape."""
        profile = context.profile
        self.plan(request, profile)
        reference = settings(profile).secret_ref
        if reference is None:  # plan() has seen to it
            raise misconfigured(profile, "credentials.secret_ref", "is missing")
        secret = context.secrets.resolve(reference)
        if isinstance(profile, StorageProfile):
            return _keys(secret, profile, context)
        token = _token(secret)
        if token is None:
            raise misconfigured(profile, "credentials.secret_ref", "names a secret that is no token of visible ASCII")
        return AccessToken(token)


def _check_storage(profile: StorageProfile) -> None:
    if profile.production:
        fault = f"is static, which is refused for storage {IN_PRODUCTION}: use iam_role or a catalog that vends"
        raise misconfigured(profile, "credentials.mode", fault)
    if not profile.allow_unscoped:
        fault = "must be true for mode static: its keys reach all that their owner reaches, whatever is asked for"
        raise misconfigured(profile, "allow_unscoped", fault)
    if profile.type != "s3":
        raise misconfigured(profile, "type", f"is {profile.type!r}: mode static has keys for s3 only")
    check_profile(profile)


def _keys(secret: SecretStr, profile: StorageProfile, context: Context) -> S3Credentials:
    keys = _key_pair(secret, profile.region, resolved_url(profile, "endpoint", context))
    if keys is None:
        raise misconfigured(profile, "credentials.secret_ref", f"names a secret of another shape: it {_SHAPE}")
    return keys


# The two below return None instead of raising: their locals are the secret itself.


def _token(secret: SecretStr) -> SecretStr | None:
    text = secret.get_secret_value().strip()
    return SecretStr(text) if _VISIBLE.fullmatch(text) else None


def _key_pair(secret: SecretStr, region: str | None, endpoint: str | None) -> S3Credentials | None:
    text = secret.get_secret_value().strip()
    if text.startswith("{"):
        try:
            parsed: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        parts = [parsed.get(field) or "" for field in _FIELDS] if isinstance(parsed, dict) else []
    else:
        parts = [*text.split(":"), ""] if text.count(":") == 1 else text.split(":")
    if len(parts) != 3 or not all(isinstance(part, str) and (part == "" or _VISIBLE.fullmatch(part)) for part in parts):
        return None
    access_key_id, secret_access_key, token = parts
    if not access_key_id or not secret_access_key:
        return None
    return S3Credentials(
        access_key_id,
        SecretStr(secret_access_key),
        session_token=SecretStr(token) if token else None,
        region=region,
        endpoint=endpoint,
    )
