"""Runbooks: what a human does about a credential that cannot be taken back by a call. Pure."""

from __future__ import annotations

from credbroker.credentials import (
    ADLSCredentials,
    Credential,
    DatabaseCredentials,
    DelegationKey,
    GCSCredentials,
    S3Credentials,
    TableCredentials,
)
from credbroker.profile import Profile
from credbroker.providers import Revocation

# AWS IAM user guide, "Revoke IAM role temporary security credentials": the console's button attaches this very policy.
_STS = (
    "in IAM, revoke the active sessions of {role} (it attaches AWSRevokeOlderSessions: deny all where aws:TokenIssueTime is "
    "before now; on SeaweedFS or Ceph take the right from the role), then let the pipelines issue anew"
)
# Microsoft Learn, "Revoke a user delegation SAS".
_SAS = (
    "revoke the account's delegation keys: az storage account revoke-delegation-keys --name {account}; every SAS that they "
    "signed ends within minutes"
)
_GCS = "take the role on the bucket from the service account, or disable it (gcloud iam service-accounts disable)"
_CLIENT = "disable the client at the issuer, or wait until the token has ended"
_VENDED = "take the principal's rights on the table in the catalog, and at its cloud: "
_LEASE = "at the vault, end the leases of the role, and the logins with them: vault lease revoke -prefix {path}"
_NOTHING_HELD = "nothing is held here; what was issued before, here or elsewhere, lives until its own end"


def irrevocable(profile: Profile, value: Credential) -> Revocation:
    """Why a held value cannot be taken back, and the step that ends it all the same."""
    # A delegation key is let go of before its end, to which what it signed may live.
    end = value.expiry if isinstance(value, DelegationKey) else value.expires_at
    until = f"until {end:%Y-%m-%d %H:%M:%S} UTC" if end is not None else "until its owner withdraws it"
    if isinstance(value, TableCredentials):
        kinds = {type(inner): inner for _, inner in value.by_location}
        steps = "; ".join(_step(profile, inner) for inner in kinds.values())
        return Revocation(revoked=False, reason=f"what a catalog vended lives {until}", runbook=_VENDED + steps)
    return Revocation(
        revoked=False, reason=f"{_what(value)} cannot be taken back: it lives {until}", runbook=_step(profile, value)
    )


def nothing_held(profile: Profile) -> Revocation:
    """What to say of a profile whose value is not in this process."""
    mode = profile.credentials.mode if profile.credentials is not None else None
    if mode == "iam_role":
        return Revocation(revoked=False, reason=_NOTHING_HELD, runbook=_sts(profile))
    return Revocation(
        revoked=False, reason=_NOTHING_HELD, runbook=_CLIENT if mode == "oauth2" else "withdraw it at its issuer"
    )


def under_way(profile: Profile) -> Revocation:
    """What to say of an issue that had begun: its value is discarded when it comes, and nobody holds it to take it back."""
    runbook = nothing_held(profile).runbook
    reason = "one was being issued: it is discarded when it comes, and nobody is given it, but it lives until its own end"
    return Revocation(revoked=False, reason=reason, runbook=runbook)


def _what(value: Credential) -> str:
    match value:
        case S3Credentials(session_token=None):
            return "a key pair"
        case S3Credentials():
            return "an STS session"
        case ADLSCredentials():
            return "a SAS"
        case GCSCredentials():
            return "an access token of Google's"
        case DatabaseCredentials():
            return "a login"
    return "a user delegation key" if isinstance(value, DelegationKey) else "a token"


def _step(profile: Profile, value: Credential) -> str:
    match value:
        case S3Credentials(session_token=None):
            step = "deactivate the access key in IAM, and put a new one into the secret"
        case S3Credentials():
            step = _sts(profile)
        case ADLSCredentials() | DelegationKey():
            step = _SAS.format(account=getattr(value, "account", "<the account>"))
        case GCSCredentials():
            step = _GCS
        case DatabaseCredentials(lease=str()):
            step = _lease(profile)
        case DatabaseCredentials():
            step = _login(profile)
        case _:
            step = _CLIENT
    return step


def _login(profile: Profile) -> str:
    block = profile.credentials
    if block is None or block.mode != "iam_role":
        return "drop the database's user, or change its password"
    # What AWS makes is no password of the user's own, which could be changed.
    return f"lock the user in the database{f', and {_sts(profile)}' if block.role_arn else ''}"


def _sts(profile: Profile) -> str:
    role = profile.credentials.role_arn if profile.credentials is not None else None
    return _STS.format(role=role or "the role that the catalog assumes")


def _lease(profile: Profile) -> str:
    reference = profile.credentials.secret_ref if profile.credentials is not None else None
    role = reference.secret_ref if reference is not None else "<role>"
    return _LEASE.format(path=f"<dynamic_mount>/creds/{role}")
