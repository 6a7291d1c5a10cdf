"""A role's session that is not for a store: what it is narrowed to, and what is made of it for a catalog or an engine."""

from __future__ import annotations

from credbroker.context import Context
from credbroker.credentials import Credential, S3Credentials
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.identity.aws import Keys, base_keys, source_fault
from credbroker.profile import CatalogProfile, ComputeProfile, Profile
from credbroker.providers import Grant
from credbroker.providers._database_login import RdsLogin, RedshiftLogin, login_of
from credbroker.providers._signed_catalog import policy_for
from credbroker.providers._sts_role import Role, chaining_policy, role_of, session
from credbroker.providers.requirements import check_profile, misconfigured, settings, takes
from credbroker.request import Access, CredentialRequest
from credbroker.vending.aws_catalogs import fitting

_FEWER = "name fewer or shorter databases and tables in properties.glue.databases"
_SHORTER = "shorten the names of the user and the database"


def plan(request: CredentialRequest, profile: Profile) -> Grant:
    """The session policy that ``issue`` would send, and the access that it gives. A login without a role has no policy.

    Raises ``ConfigurationError`` for settings that cannot work, and for what no policy can hold.
    """
    if isinstance(profile, CatalogProfile):
        return _of_catalog(request, profile, role_of(profile))
    login, role = _of_engine(request, profile)
    return _narrowed(login, role)


def issue(request: CredentialRequest, context: Context) -> Credential:
    """Assume the role once; for an engine, then make its login. Raises as ``session`` does, and by what Redshift answers."""
    profile = context.profile
    if isinstance(profile, CatalogProfile):
        return _keys_of_catalog(request, profile, context)
    login, role = _of_engine(request, profile)
    _need_botocore(profile)
    outcome = login.issued(_signer(login, role, request, context), context)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _signer(login: RdsLogin | RedshiftLogin, role: Role | None, request: CredentialRequest, context: Context) -> Keys:
    policy = _narrowed(login, role).policy
    if role is None or policy is None:
        return base_keys(settings(context.profile).credential_source, context)
    return session(role, request, context, policy=fitting(policy, _SHORTER))


def _keys_of_catalog(request: CredentialRequest, profile: CatalogProfile, context: Context) -> S3Credentials:
    role = role_of(profile)
    grant = _of_catalog(request, profile, role)
    keys = session(role, request, context, policy=fitting(grant.policy or {}, _FEWER))
    return S3Credentials(
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
        region=profile.region,
        expires_at=keys.expires_at,
        access=grant.access,
    )


def _of_catalog(request: CredentialRequest, profile: CatalogProfile, role: Role) -> Grant:
    chaining = chaining_policy(request, profile)
    if chaining is not None:  # another profile's role is assumed with this session, which asks this catalog nothing
        return Grant(chaining)
    access = request.access or Access.READ
    policy = policy_for(profile, access, partition=role.partition, account=_account(role))
    fitting(policy, _FEWER)
    return Grant(policy, None, access)


def _of_engine(request: CredentialRequest, profile: Profile) -> tuple[RdsLogin | RedshiftLogin, Role | None]:
    """The login, and the role that is to sign it; None: the base identity signs it itself.

    That hands out no more than a role would: a login is for one user of one database, whoever signs it.
    """
    block = settings(profile)
    if not isinstance(profile, ComputeProfile):
        raise misconfigured(profile, "credentials.mode", "'iam_role' has nothing for this section")
    if request.base is not None:
        raise misconfigured(profile, "credentials.mode", "'iam_role' gives logins here, and no role can be assumed with one")
    login = login_of(profile)
    if block.role_arn is not None:
        return login, role_of(profile)
    if block.source_profile is not None:
        raise misconfigured(profile, "credentials.role_arn", "is missing: with source_profile it is the role to assume")
    fault = source_fault(block.credential_source)
    if fault is not None:
        raise misconfigured(profile, "credentials.credential_source", f"{fault}, or set role_arn")
    takes(profile, "credential_source", by="without credentials.role_arn")
    check_profile(profile)
    return login, None


def _narrowed(login: RdsLogin | RedshiftLogin, role: Role | None) -> Grant:
    if role is None:
        return Grant(None, None, None)
    policy = login.policy(role.partition, _account(role) or "*")
    fitting(policy, _SHORTER)
    return Grant(policy, None, None)


def _account(role: Role) -> str | None:
    return role.arn.split(":")[4] or None


def _need_botocore(profile: Profile) -> None:
    try:
        import botocore.auth  # noqa: F401 - loaded when a login is made, not before
    except ImportError:
        raise ConfigurationError(
            "mode 'iam_role' needs botocore: pip install 'credbroker-data[aws]'", profile=profile.name
        ) from None
