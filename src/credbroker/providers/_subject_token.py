"""A token of somebody else's making that is shown to an issuer, from a file, a secret, or another profile.

It is exchanged (RFC 8693 section 2.1), or it is an assertion: as the grant (RFC 7523 section 2.1), or as the proof of who
the client is (section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import SecretStr

from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, InsufficientLifetime, SecretNotFound
from credbroker.profile import CredentialSettings, Profile
from credbroker.profile import SubjectToken as Settings
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.jwt import instant, unverified_claims
from credbroker.wire.token import ACCESS_TOKEN_TYPE, JWT_TYPE
from credbroker.wire.visible import VISIBLE

Key = Literal["subject_token", "client_assertion"]
"""Which key of the credentials block names the token."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A token and its type. ``held`` is what another profile gave, and ``request`` what it was asked."""

    value: SecretStr
    type: str
    held: AccessToken | None = None
    request: CredentialRequest | None = None


def check_subject(profile: Profile, key: Key = "subject_token") -> None:
    """Raise ``ConfigurationError`` unless the profile names, under ``key``, exactly one place that a token comes from."""
    field, stated = f"credentials.{key}", _stated(settings(profile), key)
    if stated is None:
        raise misconfigured(profile, field, "is missing: its grant needs a token; name its file, secret_ref or profile")
    places = sum(bool(place) for place in (stated.file, stated.secret, stated.profile))
    if places != 1 or stated.url or stated.aws:
        raise misconfigured(profile, field, "must name exactly one of file, secret_ref and profile")
    if stated.profile == (profile.kind, profile.name):
        raise misconfigured(profile, f"{field}.profile", "is the profile itself: name the one whose token is shown")


def subject(request: CredentialRequest, context: Context, *, key: Key = "subject_token", only_jwt: bool = False) -> Subject:
    """The token under ``key``, read afresh; ``only_jwt`` where nothing else will do.

    Raises ``SecretNotFound`` for a file that is not there or holds no whole token, ``InsufficientLifetime`` for a token that
    is over by this machine's clock, ``ConfigurationError`` for a secret or a profile that gives none, and what issuing for
    that profile raises. What is over is not sent: the issuer's refusal would look like the loss of a right.
    """
    profile = context.profile
    stated = _stated(settings(profile), key)
    if stated is None:  # plan() has seen to it
        raise misconfigured(profile, f"credentials.{key}", "is missing")
    kind = JWT_TYPE if only_jwt else settings(profile).subject_token_type
    if stated.profile is not None:
        return _of_profile(stated.profile, key, kind or ACCESS_TOKEN_TYPE, request, context)
    kind = kind or JWT_TYPE
    read = _file(stated.file, key, context) if stated.file is not None else _secret(stated, key, context)
    token = SecretStr(read.get_secret_value().strip())
    fault = _fault(token, kind)
    if fault is not None and stated.file is not None:
        raise SecretNotFound(f"the file of credentials.{key}, {stated.file!r}, {fault}: look at what writes it")
    if fault is not None:
        raise misconfigured(profile, f"credentials.{key}.secret_ref", f"names a secret that {fault}")
    end = _end(token)
    if end is not None and end <= context.clock.now():
        raise _over(stated, key, context.clock.now() - end)
    return Subject(token, kind)


def renewed(tried: Subject, request: CredentialRequest, context: Context, *, key: Key) -> Subject | None:
    """What stands in the place of a token that was refused, if that is another one by now."""
    if tried.held is not None and tried.request is not None and not context.invalidate(tried.request, tried.held):
        return None
    try:
        found = subject(request, context, key=key, only_jwt=tried.type == JWT_TYPE)
    except (SecretNotFound, InsufficientLifetime, ConfigurationError):
        return None  # the refusal says more
    return None if found.value == tried.value else found


def ago(span: timedelta) -> str:
    """A time span in a human's words."""
    seconds = round(span.total_seconds())
    return f"{round(seconds / 60)} min" if seconds >= 120 else f"{seconds} s"


def _stated(block: CredentialSettings, key: Key) -> Settings | None:
    return block.subject_token if key == "subject_token" else block.client_assertion


def _of_profile(named: tuple[str, str], key: Key, kind: str, request: CredentialRequest, context: Context) -> Subject:
    section, name = named
    asked = CredentialRequest(
        kind=section,  # type: ignore[arg-type]  # the section of a profile is a kind
        profile=name,
        principal=request.principal,
        actor=request.actor,
        run_id=request.run_id,
        lineage=request.lineage,
    )
    held = context.get(asked)
    field = f"credentials.{key}.profile"
    if not isinstance(held, AccessToken):
        raise misconfigured(context.profile, field, f"names {name!r}, whose credentials are no token")
    if kind == JWT_TYPE and _fault(held.value, kind) is not None:
        raise misconfigured(context.profile, field, f"names {name!r}, whose token is no JWT")
    return Subject(held.value, kind, held, asked)


def _file(path: str, key: Key, context: Context) -> SecretStr:
    try:
        return SecretStr(context.environment.read(path).decode("ascii", "replace"))
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
    raise SecretNotFound(f"the file of credentials.{key}, {path!r}, could not be read: {why}")


def _secret(stated: Settings, key: Key, context: Context) -> SecretStr:
    if stated.secret is None:  # plan() has seen to it
        raise misconfigured(context.profile, f"credentials.{key}", "is missing")
    return context.secrets.resolve(stated.secret)


def _fault(token: SecretStr, kind: str) -> str | None:
    """What is wrong with the token: it may be half written, or the wrong file."""
    text = token.get_secret_value()
    if not text:
        return "is empty"
    if not VISIBLE.fullmatch(text):
        return "holds no token of visible ASCII"
    if kind == JWT_TYPE and not _is_jwt(text):
        return "holds no whole JWT (is it another kind of token, set credentials.subject_token_type)"
    return None


def _is_jwt(text: str) -> bool:
    """RFC 7519 section 3: three parts where it is signed, the second being its claims, five where it is encrypted."""
    parts = text.split(".")
    return unverified_claims(text) is not None or (len(parts) == 5 and bool(parts[0]) and bool(parts[-1]))


def _end(token: SecretStr) -> datetime | None:
    claims = unverified_claims(token.get_secret_value())
    return None if claims is None else instant(claims, "exp")


def _over(stated: Settings, key: Key, since: timedelta) -> InsufficientLifetime:
    where = f"the file of credentials.{key}, {stated.file!r}," if stated.file else f"the secret of credentials.{key}"
    return InsufficientLifetime(
        f"{where} holds a token that ended {ago(since)} ago by this machine's clock, and was not sent: look why nothing has "
        "replaced it (a pod's is the kubelet's to replace), and whether the clock is right"
    )
