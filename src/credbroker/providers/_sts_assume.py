"""One session of a role, from the base identity to its keys: who we are is found, shown, and once found anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest
from credbroker.credentials import Credential, S3Credentials
from credbroker.errors import CredbrokerError, InsufficientLifetime
from credbroker.identity.aws import DEFAULT_CHAIN, WEB_IDENTITY, Keys, base_keys, remedy_for
from credbroker.identity.aws_metadata import dying
from credbroker.location import Location
from credbroker.profile import CredentialSettings
from credbroker.providers import _sts
from credbroker.providers._sts_role import Role, source_request
from credbroker.providers._sts_session import session_name
from credbroker.providers._sts_web_identity import FILE_VARIABLE, web_identity
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class _Shown:
    """Keys that sign, or a token; ``held`` is what another profile gave, and what it was asked."""

    keys: Keys | None = None
    token: SecretStr | None = None
    held: tuple[Credential, CredentialRequest] | None = None


def assumed_role(
    role: Role, request: CredentialRequest, context: Context, policy: str | None, asked: Sequence[Location]
) -> Keys | CredbrokerError:
    """See ``_sts_role.session``. The error is for the caller to raise, from a frame without keys."""
    call = _call(role, request, context, policy, asked)
    renewed = False
    while True:
        try:
            shown = _shown(role, request, context)
            if isinstance(shown, CredbrokerError):
                return shown
            response = context.send(_written(call, shown))
        except CredbrokerError as error:
            return error.fresh()
        # Of the base identities those alone can be had anew that the broker itself holds.
        if renewed or shown.held is None or not _sts.unaccepted(response, call):
            return _sts.assumed(response, call)
        value, of = shown.held
        context.invalidate(of, value)
        renewed = True


def _call(
    role: Role, request: CredentialRequest, context: Context, policy: str | None, asked: Sequence[Location]
) -> _sts.Call:
    block = settings(context.profile)
    run = request.run_id if block.session_run else None
    parameters: dict[str, object] = {
        "RoleArn": role.arn,
        "RoleSessionName": session_name(request.principal, request.actor, run),
        "DurationSeconds": int(role.duration.total_seconds()),
        **({} if policy is None else {"Policy": policy}),
        **role.written,
    }
    return _sts.Call(
        operation="AssumeRoleWithWebIdentity" if block.credential_source == WEB_IDENTITY else "AssumeRole",
        parameters=parameters,
        endpoint=role.endpoint,
        region=role.signing_region,
        host=role.host,
        asked=asked,
        look_at=_look_at(block),
        tagged=block.credential_source == "pod_identity",
    )


def _written(call: _sts.Call, shown: _Shown) -> HttpRequest:
    if shown.token is not None:
        return _sts.by_token(call, shown.token)
    assert shown.keys is not None  # noqa: S101 - one of the two is there
    return _sts.by_keys(call, shown.keys)


def _shown(role: Role, request: CredentialRequest, context: Context) -> _Shown | CredbrokerError:
    block = settings(context.profile)
    if block.source_profile is not None:
        return _of_profile(role, block.source_profile, request, context)
    if block.credential_source == WEB_IDENTITY:
        found = web_identity(request, context)
        if isinstance(found, CredbrokerError):
            return found
        held = None if found.held is None or found.request is None else (found.held, found.request)
        return _Shown(token=found.value, held=held)
    if block.credential_source == DEFAULT_CHAIN:
        from credbroker.identity.aws_default_chain import chain_keys

        return _Shown(keys=chain_keys(context))
    return _Shown(keys=base_keys(block.credential_source, context))


def _of_profile(
    role: Role, source: tuple[str, str], request: CredentialRequest, context: Context
) -> _Shown | CredbrokerError:
    """The session of another profile's role, which may do nothing but assume this one."""
    wanted = source_request(role, source, request)
    value = context.get(wanted)
    if not isinstance(value, S3Credentials) or value.session_token is None:
        fault = f"names {source[1]!r}, whose credentials are no role's session: name a profile of mode iam_role"
        return misconfigured(context.profile, "credentials.source_profile", fault)
    if dying(value.expires_at, context.clock.now()):
        return InsufficientLifetime(
            f"credentials.source_profile: the session of {source[1]!r} ends too soon to assume {role.arn} with it: have its "
            "role's sessions live longer",
            profile=context.profile.name,
            retryable=True,
        )
    keys = Keys(value.access_key_id, value.secret_access_key, value.session_token, value.expires_at)
    return _Shown(keys=keys, held=(value, wanted))


def _look_at(block: CredentialSettings) -> str:
    """Where the base identity comes from, for whoever must mend it."""
    if block.source_profile is not None:
        return f"credentials.source_profile {block.source_profile[1]!r} (is its session of the same STS?)"
    if block.credential_source != WEB_IDENTITY:
        return remedy_for(block.credential_source)
    stated = block.subject_token
    place = (
        f"the file that {FILE_VARIABLE} names"
        if stated is None
        else f"credentials.subject_token (the profile {stated.profile[1]!r})"
        if stated.profile is not None
        else "credentials.subject_token"
    )
    return f"{place}: the token may be expired, of an issuer or an audience that is not registered there, or not whole"
