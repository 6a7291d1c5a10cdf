"""The token that AssumeRoleWithWebIdentity shows: from a file that is read at each issue, a secret, or another profile."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import SecretStr

from credbroker.context import Context
from credbroker.errors import CredbrokerError, CredentialUnavailable, InsufficientLifetime, SecretNotFound
from credbroker.profile import Profile
from credbroker.providers._subject_token import Subject, ago, check_subject, subject
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.jwt import instant, unverified_claims
from credbroker.wire.token import JWT_TYPE

FILE_VARIABLE = "AWS_WEB_IDENTITY_TOKEN_FILE"
"""Where EKS (IRSA) and others say in which file they keep the token."""
_FIELD = "credentials.subject_token"
_LONGEST = 20_000  # AWS STS API reference, AssumeRoleWithWebIdentity, WebIdentityToken
_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)")
# Of AssumeRole alone; a token carries its tags and its source identity in its own claims, where its issuer puts them.
_NOT_TAKEN = ("external_id", "source_identity", "session_tags", "transitive_tag_keys")


def check_web_identity(profile: Profile) -> None:
    """Raise ``ConfigurationError`` for a token that has no one place, and for settings that this call cannot carry."""
    block = settings(profile)
    if block.subject_token is not None:
        check_subject(profile)
    for field in _NOT_TAKEN:
        if getattr(block, field):
            fault = (
                "is not taken by AssumeRoleWithWebIdentity, so that it would be dropped: have the token carry it, or put it "
                "on a second role, with this profile as its source_profile"
            )
            raise misconfigured(profile, f"credentials.{field}", fault)


def web_identity(request: CredentialRequest, context: Context) -> Subject | CredbrokerError:
    """The token, read afresh, or the error for one that is absent, not whole, or over: nothing is sent then.

    The error is for the caller to raise, from a frame without the token.
    """
    stated = settings(context.profile).subject_token
    if stated is None:
        path = context.environment.variable(FILE_VARIABLE)
        if path:
            return _of_file(path, f"the file of {FILE_VARIABLE}, {path!r},", CredentialUnavailable, context)
        text = (
            f"credential_source: web_identity finds no {FILE_VARIABLE}, which EKS sets in pods whose service account names "
            f"a role (IRSA): annotate it, or name the token by {_FIELD}"
        )
        return CredentialUnavailable(text, profile=context.profile.name)
    if stated.file is not None:
        return _of_file(stated.file, f"the file of {_FIELD}, {stated.file!r},", SecretNotFound, context)
    try:
        found = subject(request, context, only_jwt=True)
    except CredbrokerError as error:
        return error.fresh()
    fault = token_fault(found.value)
    if fault is None:
        return found
    place = "profile" if stated.profile is not None else "secret_ref"
    return misconfigured(context.profile, f"{_FIELD}.{place}", f"gives a token that {fault}")


def token_fault(token: SecretStr) -> str | None:
    """What is wrong with a token that must be a signed JWT (RFC 7515): it may be half written, or the wrong file."""
    text = token.get_secret_value()
    if not text:
        return "is empty"
    if len(text) > _LONGEST:
        return f"has {len(text)} characters, and STS takes {_LONGEST}"
    found = _JWS.fullmatch(text)
    # A text that was cut ends in half an object, or in one letter of the four that stand for three bytes.
    if found is None or unverified_claims(text) is None or len(found[1]) % 4 == 1:
        return "is no whole signed JWT (header.payload.signature)"
    return None


def _of_file(path: str, place: str, absent: Callable[..., CredbrokerError], context: Context) -> Subject | CredbrokerError:
    profile = context.profile.name
    try:
        read = context.environment.read(path)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        return absent(f"{place} could not be read: {why}", profile=profile)
    token = SecretStr(read.decode("ascii", "replace").strip())
    fault = token_fault(token)
    if fault is not None:
        return SecretNotFound(f"{place} holds what {fault}: nothing was sent; look at what writes it", profile=profile)
    claims = unverified_claims(token.get_secret_value()) or {}
    end, now = instant(claims, "exp"), context.clock.now()
    if end is None or end > now:
        return Subject(token, JWT_TYPE)
    # STS would refuse it in words that it has for a right that was lost too.
    return InsufficientLifetime(
        f"{place} holds a token that ended {ago(now - end)} ago by this machine's clock, and was not sent: look why nothing "
        "has replaced it (a pod's is the kubelet's to replace), and whether the clock is right",
        profile=profile,
        retryable=True,
    )
