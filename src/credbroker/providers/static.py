"""Mode ``static``: what a secret holds, handed out as it is: a token, a key pair for S3, or a database's login.

It has no end that is known, so it is read again at an interval; a vault's lease has one, and is replaced before it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from credbroker.context import Context
from credbroker.credentials import AccessToken, DatabaseCredentials, S3Credentials
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.profile import ComputeProfile, Profile, StorageProfile
from credbroker.providers import Grant, Revocation
from credbroker.providers._static_shapes import KEY_PAIR_SHAPE, LOGIN_SHAPE, key_pair, login, token
from credbroker.providers.requirements import IN_PRODUCTION, check_profile, misconfigured, need, resolved_url, settings
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from credbroker.credentials import Credential
    from credbroker.secrets.reference import SecretReference


class StaticProvider:
    """Issues an ``AccessToken`` for a catalog, ``S3Credentials`` for storage, either or a login for compute."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``. Nothing narrows static keys: a profile must say ``allow_unscoped`` to hand them out."""
        need(profile, "secret_ref")
        if isinstance(profile, StorageProfile):
            _check_storage(profile)
        if _reference(profile).next is not None:
            fault = "has a 'next', and a static secret is handed out, not presented to an issuer: leave it out"
            raise misconfigured(profile, "credentials.secret_ref", fault)
        if _reference(profile).engine is not None and not isinstance(profile, ComputeProfile):
            fault = "has engine: dynamic, and a lease is a login, which only compute takes: name a secret"
            raise misconfigured(profile, "credentials.secret_ref", fault)
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken | S3Credentials | DatabaseCredentials:
        """See ``Provider.issue``. Raises what resolving does, or ``ConfigurationError`` for the secret's shape."""
        profile = context.profile
        self.plan(request, profile)
        reference = _reference(profile)
        if reference.engine is not None:
            return _leased(reference, profile, context)
        secret = context.secrets.resolve(reference)
        if isinstance(profile, StorageProfile):
            keys = key_pair(secret, profile.region, resolved_url(profile, "endpoint", context))
            if keys is None:
                raise _misshapen(profile, f"is of another shape: it {KEY_PAIR_SHAPE}")
            return keys
        if isinstance(profile, ComputeProfile):
            found = login(secret, profile)
            if found is None:
                raise _misshapen(profile, f"is of another shape: it {LOGIN_SHAPE}")
            return found
        text = token(secret)
        if text is None:
            raise _misshapen(profile, "is no token of visible ASCII")
        return AccessToken(text)

    def revoke(self, value: Credential, request: CredentialRequest, context: Context) -> Revocation:
        """End a vault's lease. Any other static secret is its owner's to withdraw. Raises what the vault answers instead."""
        lease = getattr(value, "lease", None)
        if lease is None:
            reference = settings(context.profile).secret_ref
            return Revocation(
                revoked=False,
                reason="a static secret stands where it is kept until its owner withdraws it",
                runbook=f"withdraw it at its issuer, put a new one into the secret {str(reference)!r}, purge the profile",
            )
        context.secrets.revoke(lease)
        return Revocation(revoked=True, reason="the vault ended the lease, and the login with it")


def _reference(profile: Profile) -> SecretReference:
    reference = settings(profile).secret_ref
    if reference is None:  # plan() has seen to it
        raise misconfigured(profile, "credentials.secret_ref", "is missing")
    return reference


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


def _leased(reference: SecretReference, profile: ComputeProfile | Profile, context: Context) -> DatabaseCredentials:
    asked = context.clock.now()
    lease = context.secrets.lease(reference)
    found = login(lease.secret, profile) if isinstance(profile, ComputeProfile) else None
    if not isinstance(found, DatabaseCredentials):
        with suppress(CredbrokerError):  # it ends by itself, but nobody would know of it until then
            context.secrets.revoke(lease.name)
        raise _misshapen(profile, "is a lease without username and password: name a role of a database engine")
    return DatabaseCredentials(
        found.username, found.password, found.private_key, expires_at=asked + lease.lifetime, lease=lease.name
    )


def _misshapen(profile: Profile, fault: str) -> ConfigurationError:
    return misconfigured(profile, "credentials.secret_ref", f"names a secret that {fault}")
