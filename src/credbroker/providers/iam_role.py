"""``iam_role``: an AWS role, assumed for exactly the asked locations, for a catalog, or for a login to an engine.

Any STS endpoint will do (AWS, SeaweedFS, Ceph, MinIO); each session carries a policy that narrows the role, so that a leaked
key opens one prefix and not what the role may do.
"""

from __future__ import annotations

from credbroker.context import Context
from credbroker.credentials import Credential, S3Credentials
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant, _role_session
from credbroker.providers._sts_role import Role, chaining_policy, is_aws, role_of, session
from credbroker.providers._sts_session import session_name
from credbroker.providers.requirements import misconfigured, no_audience, resolved_url
from credbroker.request import Access, CredentialRequest
from credbroker.vending.s3 import compact, session_policy

__all__ = ["IamRoleProvider", "session_name", "sts_of"]

_ISSUER = "AWS, whose keys and logins have none"


class IamRoleProvider:
    """Issues ``S3Credentials`` by STS AssumeRole or AssumeRoleWithWebIdentity with a session policy.

    For a catalog they sign its requests; for an engine a login is made of them.
    """

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The session policy that ``issue`` would send.

        Raises ``ConfigurationError`` for settings that cannot work, and for locations that a policy cannot express or hold.
        """
        no_audience(request, _ISSUER)
        if not isinstance(profile, StorageProfile):
            return _role_session.plan(request, profile)
        role = _checked(profile)
        return _grant(request, profile, role.partition)

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        """Assume the role once.

        Raises ``CredentialUnavailable`` where the base identity is absent, ``IssueDenied``, ``IssuerUnavailable`` or
        ``MalformedResponse`` by what STS or a metadata service answers, ``InsufficientLifetime`` for a base identity whose
        keys are over, and ``ConfigurationError`` for what STS says is wrong with the call.
        """
        profile = context.profile
        no_audience(request, _ISSUER)
        if not isinstance(profile, StorageProfile):
            return _role_session.issue(request, context)
        role = _checked(profile)
        grant = _grant(request, profile, role.partition)
        endpoint = resolved_url(profile, "endpoint", context)
        policy = compact(grant.policy or {}, request.locations)
        keys = session(role, request, context, policy=policy, asked=request.locations)
        return S3Credentials(
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=keys.session_token,
            region=profile.region,
            endpoint=endpoint,
            expires_at=keys.expires_at,
            locations=grant.locations,
            access=grant.access,
        )


def sts_of(profile: Profile) -> tuple[str, str]:
    """The STS endpoint that a profile of this mode asks, and the region that a signature for it names.

    Raises ``ConfigurationError`` for settings that cannot work.
    """
    role = role_of(profile)
    return role.endpoint, role.signing_region


def _grant(request: CredentialRequest, profile: StorageProfile, partition: str) -> Grant:
    chaining = chaining_policy(request, profile)
    if chaining is not None:
        return Grant(chaining)  # another profile's role is assumed with it: it opens nothing of the store
    access = request.access or Access.READ
    policy = session_policy(
        request.locations, access, partition=partition, kms_keys=profile.kms_keys, escapes=_knows_escapes(profile)
    )
    compact(policy, request.locations)
    return Grant(policy, request.locations, access)


def _knows_escapes(profile: StorageProfile) -> bool:
    """Whether the store reads ``${*}`` as a literal. AWS does; SeaweedFS was seen to take the whole for a variable."""
    if profile.policy_escapes is not None:
        return profile.policy_escapes
    return is_aws(profile.credentials.sts_endpoint if profile.credentials is not None else None)


def _checked(profile: StorageProfile) -> Role:
    if profile.type != "s3":
        raise misconfigured(profile, "type", f"is {profile.type!r}: mode iam_role has keys for s3 only")
    return role_of(profile)
