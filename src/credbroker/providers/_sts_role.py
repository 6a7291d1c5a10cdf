"""A role as a profile names it, checked, and one session of it: the way from settings to keys, whoever they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from credbroker.context import Context
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.identity.aws import (
    DEFAULT_CHAIN,
    KEY_SOURCES,
    REGION,
    SESSION_SOURCES,
    WEB_IDENTITY,
    Keys,
    partition_of,
    regional_endpoint,
    source_fault,
)
from credbroker.location import Location
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers._sts_session import written_into
from credbroker.providers._sts_web_identity import check_web_identity
from credbroker.providers.requirements import IN_PRODUCTION, check_profile, check_url, misconfigured, need, settings, takes
from credbroker.request import CredentialRequest

# AWS STS API reference, AssumeRole: the patterns of RoleArn and ExternalId; its \w is ASCII. The account may be missing
# where the STS is not AWS's own: Ceph has roles of no tenant.
_ROLE_ARN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):iam::([0-9]{12})?:role/(?:[!-.0-~]+/)*[A-Za-z0-9_+=,.@-]{1,64}")
# IAM takes them in a role's path, and a policy's Resource reads them as a pattern, or as a variable.
_PATTERN = re.compile(r"[*?]|\$\{")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_LONGEST_ARN = 2048
_SHORTEST, _LONGEST = timedelta(seconds=900), timedelta(seconds=43200)
# IAM user guide, "Roles terms and concepts", role chaining: more is not cut, but refused.
_LONGEST_CHAINED = timedelta(hours=1)
_AWS_STS = re.compile(r"sts(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_DEFAULT_REGION = "us-east-1"
_TAKEN = ("role_arn", "sts_endpoint", "external_id", "source_identity", "session_tags", "transitive_tag_keys", "session_run")
# The rights that a call of AssumeRole needs, each by the parameter that needs it.
_TAGGING = "sts:TagSession"
_CHAINING = {"sts:AssumeRole": "RoleArn", "sts:SetSourceIdentity": "SourceIdentity", _TAGGING: "Tags"}


@dataclass(frozen=True, slots=True)
class Role:
    """What of a profile's settings goes into a call, checked. ``written`` is what else of them AssumeRole carries."""

    arn: str
    partition: str
    endpoint: str
    signing_region: str
    duration: timedelta
    written: Mapping[str, object]

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or "its endpoint"


def role_of(profile: Profile) -> Role:
    """The role that a profile of this mode assumes. Pure. Raises ``ConfigurationError`` for settings that cannot work."""
    block = settings(profile)
    need(profile, "role_arn")
    arn = block.role_arn or ""
    found = _ROLE_ARN.fullmatch(arn)
    if found is None or len(arn) > _LONGEST_ARN or (found.group(2) is None and block.sts_endpoint is None):
        raise misconfigured(profile, "credentials.role_arn", "is no role's ARN: arn:aws:iam::<12 digits>:role/<name>")
    _check_source(profile, block)
    if block.source_profile is not None and _PATTERN.search(arn):
        raise misconfigured(
            profile,
            "credentials.role_arn",
            "has '*', '?' or '${' in its path: in the policy of source_profile's session it would stand for other roles "
            "too; give the role another path, or assume it by a credential_source",
        )
    written: dict[str, object] = {}
    if block.external_id is not None:
        if not _EXTERNAL_ID.fullmatch(block.external_id):
            # Never mended: a changed external id is another secret between two parties, refused with less to go by.
            raise misconfigured(profile, "credentials.external_id", "must be 2 to 1224 of letters, digits and _+=,.@:/-")
        written["ExternalId"] = block.external_id
    written |= written_into(profile, block)
    check_profile(profile)
    endpoint, signing_region = _sts_endpoint(profile, block, found.group(1))
    return Role(
        arn=arn,
        partition=found.group(1),
        endpoint=endpoint,
        signing_region=signing_region,
        # STS takes 900 to 43200; a shorter max_ttl ends the value here, in the broker.
        duration=min(max(profile.max_ttl, _SHORTEST), _LONGEST),
        written=written,
    )


def is_aws(endpoint: str | None) -> bool:
    """Whether an ``sts_endpoint``, or none, is AWS's own."""
    host = urlsplit(endpoint).hostname or "" if endpoint is not None else None
    return host is None or host == "sts.amazonaws.com" or _AWS_STS.fullmatch(host) is not None


def chaining_policy(request: CredentialRequest, profile: Profile) -> dict[str, object] | None:
    """The session policy under which another profile's role can be assumed and nothing else be done.

    None where ``request`` is not for that. ``profile`` is whose session it will be. Raises ``ConfigurationError`` for a base
    that is none of this mode's.
    """
    if request.base is None:
        return None
    *actions, arn = request.base.split()
    if not actions or not set(actions) <= set(_CHAINING) or not _ROLE_ARN.fullmatch(arn):
        raise ConfigurationError("mode 'iam_role' is the base of another role alone", profile=request.profile)
    if _PATTERN.search(arn):
        fault = "is the base of no role with '*', '?' or '${' in its path, which in a policy would stand for other roles too"
        raise ConfigurationError(f"mode 'iam_role' {fault}: give that role another path", profile=request.profile)
    if _TAGGING not in actions and _hands_tags_on(settings(profile)):
        actions.append(_TAGGING)
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": arn}]}


def source_request(role: Role, source: tuple[str, str], request: CredentialRequest) -> CredentialRequest:
    """What the profile that ``source`` names is asked for, so that ``role`` can be assumed with it.

    The base's name says all that the session must allow: Ceph 16 refuses a policy with an action that it does not know.
    """
    kind, name = source
    actions = [action for action, parameter in _CHAINING.items() if parameter == "RoleArn" or parameter in role.written]
    return CredentialRequest(
        kind=kind,  # type: ignore[arg-type]  # the section of a profile is a kind
        profile=name,
        principal=request.principal,
        actor=request.actor,
        run_id=request.run_id,
        lineage=request.lineage,
        base=" ".join((*actions, role.arn)),
    )


def session(
    role: Role, request: CredentialRequest, context: Context, *, policy: str | None = None, asked: Sequence[Location] = ()
) -> Keys:
    """The keys of one new session of ``role``, under ``policy`` (JSON; None: all that the role may do), with their end.

    ``asked`` are the locations that the policy is for, to be named in errors. One request to STS, or a second one where it
    does not accept what another profile gave: that is invalidated and asked anew, once. Raises ``CredentialUnavailable``
    where the base identity is absent, ``IssueDenied``, ``IssuerUnavailable`` or ``MalformedResponse`` by what STS answers,
    ``ConfigurationError`` for what it says is wrong with the call, and what getting the base identity raises.
    """
    try:
        from credbroker.providers import _sts_assume  # botocore is loaded when this mode runs, not before
    except ImportError:
        raise ConfigurationError(
            "mode 'iam_role' needs botocore: pip install 'credbroker-data[aws]'", profile=request.profile
        ) from None
    outcome = _sts_assume.assumed_role(role, request, context, policy, asked)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _hands_tags_on(block: CredentialSettings) -> bool:
    """Whether a session has tags that go on to the next role, which takes the same right as tags of its own."""
    if block.transitive_tag_keys or block.credential_source == "pod_identity":  # EKS makes all of its six tags transitive
        return True
    return block.source_profile is not None and is_aws(block.sts_endpoint)


def _check_source(profile: Profile, block: CredentialSettings) -> None:
    """That exactly one base identity is named, and that it can have what else is asked."""
    source = block.credential_source
    if block.source_profile is None:
        _check_named(profile, source)
    elif source is not None:
        fault = "and credentials.source_profile name two base identities: leave one of them out"
        raise misconfigured(profile, "credentials.credential_source", fault)
    elif block.source_profile[0] not in ("storage", "catalog"):
        fault = "must name a profile of mode iam_role, under storage or catalogs: an engine's login assumes no role"
        raise misconfigured(profile, "credentials.source_profile", fault)
    if source == WEB_IDENTITY:
        check_web_identity(profile)
    own = ("credential_source", "subject_token") if source == WEB_IDENTITY else ("credential_source", "source_profile")
    takes(profile, *_TAKEN, *own, by=f"with credential_source {source!r} here" if source else "with source_profile here")
    chained = block.source_profile is not None or source in SESSION_SOURCES
    if chained and profile.max_ttl > _LONGEST_CHAINED:
        # STS would refuse it: better said here than at the first issue.
        by = "source_profile" if block.source_profile is not None else f"credential_source: {source}"
        fault = f"is over 1h: {by} is itself a role's session, and a role assumed with one lives an hour at most (chaining)"
        raise misconfigured(profile, "max_ttl", fault)


def _check_named(profile: Profile, source: str | None) -> None:
    field = "credentials.credential_source"
    sources = ", ".join((WEB_IDENTITY, *KEY_SOURCES))
    if source is None:
        fault = f"is missing: name the base identity ({sources}), or another profile as source_profile"
        raise misconfigured(profile, field, fault)
    if source == DEFAULT_CHAIN:
        if profile.production:
            fault = f"is {source!r}, which depends on the machine and is refused {IN_PRODUCTION}: name one source"
            raise misconfigured(profile, field, fault)
    elif source != WEB_IDENTITY and source_fault(source) is not None:
        raise misconfigured(profile, field, f"is no identity towards AWS: use {sources}, or source_profile")


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
