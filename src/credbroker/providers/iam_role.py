"""``iam_role``: an AWS role, assumed for exactly the asked locations.

Any STS endpoint will do (AWS, SeaweedFS, Ceph, MinIO); each session carries a policy that narrows the role, so that a leaked
key opens one prefix and not what the role may do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from credbroker.context import Context
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.identity.aws import REGION, base_keys, partition_of, regional_endpoint, source_fault
from credbroker.profile import CredentialSettings, Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers.requirements import check_profile, check_url, misconfigured, need, resolved_url, settings
from credbroker.request import Access, CredentialRequest
from credbroker.vending.s3 import compact, session_policy
from credbroker.wire.expiry import corrected

# AWS STS API reference, AssumeRole: the patterns of RoleArn, ExternalId and RoleSessionName; its \w is ASCII. The account
# may be missing where the STS is not AWS's own: Ceph has roles of no tenant.
_ROLE_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):iam::([0-9]{12})?:role/(?:[!-.0-~]+/)*[A-Za-z0-9_+=,.@-]{1,64}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_NOT_IN_SESSION_NAME = re.compile(r"[^A-Za-z0-9_+=,.@-]+")
_LONGEST_ARN = 2048
_SHORTEST, _LONGEST = timedelta(seconds=900), timedelta(seconds=43200)
_AWS_STS = re.compile(r"sts(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class _Role:
    """What of the profile's settings goes into a call, checked."""

    arn: str
    partition: str
    endpoint: str
    signing_region: str
    external_id: str | None
    duration: timedelta


class IamRoleProvider:
    """Issues ``S3Credentials`` by STS AssumeRole with a session policy."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The session policy that ``issue`` would send.

        Raises ``ConfigurationError`` for settings that cannot work, and for locations that a policy cannot express or hold.
        """
        storage, role = _checked(profile)
        return _grant(request, storage, role.partition)

    def issue(self, request: CredentialRequest, context: Context) -> S3Credentials:
        """Assume the role once.

        Raises ``CredentialUnavailable`` where the base identity is absent, ``IssueDenied``, ``IssuerUnavailable`` or
        ``MalformedResponse`` by what STS answers, and ``ConfigurationError`` for what it says is wrong with the call.
        """
        profile, role = _checked(context.profile)
        grant = _grant(request, profile, role.partition)
        endpoint = resolved_url(profile, "endpoint", context)
        try:
            from credbroker.providers import _sts  # botocore is loaded when this mode runs, not before
        except ImportError:
            raise ConfigurationError(
                "mode 'iam_role' needs botocore: pip install 'credbroker-data[aws]'", profile=profile.name
            ) from None
        parameters: dict[str, object] = {
            "RoleArn": role.arn,
            "RoleSessionName": session_name(request.principal, request.actor),
            "Policy": compact(grant.policy or {}, request.locations),
            "DurationSeconds": int(role.duration.total_seconds()),
        }
        if role.external_id is not None:
            parameters["ExternalId"] = role.external_id
        signer = base_keys(settings(profile).credential_source, context)
        message = _sts.assume_role(parameters, signer, endpoint=role.endpoint, region=role.signing_region)
        response = context.send(message)
        keys, ends = _sts.assumed(
            response, parameters, host=urlsplit(role.endpoint).hostname or "its endpoint", asked=request.locations
        )
        return S3Credentials(
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=keys.session_token,
            region=profile.region,
            endpoint=endpoint,
            expires_at=corrected(ends, response.headers.get("date"), response.sent, response.received),
            locations=grant.locations,
            access=grant.access,
        )


def sts_of(profile: Profile) -> tuple[str, str]:
    """The STS endpoint that a profile of this mode asks, and the region that a signature for it names.

    Raises ``ConfigurationError`` for settings that cannot work.
    """
    _, role = _checked(profile)
    return role.endpoint, role.signing_region


def session_name(principal: str | None, actor: str | None) -> str:
    """A ``RoleSessionName`` (2 to 64 of ``[A-Za-z0-9_+=,.@-]``) that CloudTrail shows.

    It ends in 120 bits of a hash over both names: cleaning and cutting alone would give two of them one session name.
    """
    if principal is None and actor is None:
        return "credbroker"
    digest = hashlib.sha256(json.dumps([principal, actor]).encode()).digest()[:15]
    suffix = base64.b32encode(digest).decode().lower()
    readable = _NOT_IN_SESSION_NAME.sub("-", "-".join(name for name in (principal, actor) if name))
    return f"{readable[: 63 - len(suffix)]}-{suffix}"


def _grant(request: CredentialRequest, profile: StorageProfile, partition: str) -> Grant:
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
    endpoint = profile.credentials.sts_endpoint if profile.credentials is not None else None
    host = urlsplit(endpoint).hostname or "" if endpoint is not None else None
    return host is None or host == "sts.amazonaws.com" or _AWS_STS.fullmatch(host) is not None


def _checked(profile: Profile) -> tuple[StorageProfile, _Role]:
    block = settings(profile)
    if not isinstance(profile, StorageProfile):
        raise misconfigured(profile, "credentials.mode", "'iam_role' is not supported for this section by this version yet")
    if profile.type != "s3":
        raise misconfigured(profile, "type", f"is {profile.type!r}: mode iam_role has keys for s3 only")
    need(profile, "role_arn")
    fault = source_fault(block.credential_source)
    if fault is not None:
        raise misconfigured(profile, "credentials.credential_source", fault)
    arn = block.role_arn or ""
    found = _ROLE_ARN.fullmatch(arn)
    if found is None or len(arn) > _LONGEST_ARN or (found.group(2) is None and block.sts_endpoint is None):
        raise misconfigured(profile, "credentials.role_arn", "is no role's ARN: arn:aws:iam::<12 digits>:role/<name>")
    if block.external_id is not None and not _EXTERNAL_ID.fullmatch(block.external_id):
        # Never mended: a changed external id is another secret between two parties, and would be refused with less to go by.
        raise misconfigured(profile, "credentials.external_id", "must be 2 to 1224 of letters, digits and _+=,.@:/-")
    check_profile(profile)
    endpoint, signing_region = _sts_endpoint(profile, block, found.group(1))
    return profile, _Role(
        arn=arn,
        partition=found.group(1),
        endpoint=endpoint,
        signing_region=signing_region,
        external_id=block.external_id,
        # STS takes 900 to 43200; a shorter max_ttl ends the value here, in the broker.
        duration=min(max(profile.max_ttl, _SHORTEST), _LONGEST),
    )


def _sts_endpoint(profile: Profile, block: CredentialSettings, partition: str) -> tuple[str, str]:
    """Where the call goes, and the region that its signature names."""
    region = profile.region
    if region is not None and not REGION.fullmatch(region) and block.sts_endpoint is None:
        raise misconfigured(profile, "region", "is no AWS region: it becomes part of the STS host's name")
    if block.sts_endpoint is not None:
        check_url(profile, "credentials.sts_endpoint", block.sts_endpoint)
        host = urlsplit(block.sts_endpoint).hostname or ""
        if host == "sts.amazonaws.com":  # the global endpoint is signed for one region, whatever the bucket's
            return block.sts_endpoint, _DEFAULT_REGION
        of_host = _AWS_STS.fullmatch(host)
        return block.sts_endpoint, of_host.group(1) if of_host else region or _DEFAULT_REGION
    if region is None:
        raise misconfigured(profile, "region", "is missing: the regional STS endpoint is chosen by it (or set sts_endpoint)")
    if partition_of(region) != partition:
        raise misconfigured(profile, "region", f"is not in the role's partition {partition!r}")
    return regional_endpoint("sts", region), region
