"""The token that is exchanged for another (RFC 8693 section 2.1): from a file, a secret, or another profile."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import SecretNotFound
from credbroker.profile import Profile
from credbroker.profile import SubjectToken as Settings
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.token import ACCESS_TOKEN_TYPE, JWT_TYPE
from credbroker.wire.visible import VISIBLE

_FIELD = "credentials.subject_token"


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject token and its type. ``held`` is what another profile gave, and ``request`` what it was asked."""

    value: SecretStr
    type: str
    held: AccessToken | None = None
    request: CredentialRequest | None = None


def check_subject(profile: Profile) -> None:
    """Raise ``ConfigurationError`` unless the profile names exactly one place that a subject token comes from."""
    stated = settings(profile).subject_token
    if stated is None:
        raise misconfigured(profile, _FIELD, "is missing: a token exchange needs it; name its file, secret_ref or profile")
    if sum(bool(place) for place in (stated.file, stated.secret, stated.profile)) != 1:
        raise misconfigured(profile, _FIELD, "must name exactly one of file, secret_ref and profile")
    if stated.profile == (profile.kind, profile.name):
        raise misconfigured(profile, f"{_FIELD}.profile", "is the profile itself: name the one whose token is exchanged")


def subject(request: CredentialRequest, context: Context) -> Subject:
    """The subject token, read afresh.

    Raises ``SecretNotFound`` for a file that is not there or holds no whole token, ``ConfigurationError`` for a secret or a
    profile that gives none, and what issuing for that profile raises.
    """
    profile = context.profile
    block = settings(profile)
    stated = block.subject_token
    if stated is not None and stated.profile is not None:
        return _of_profile(stated.profile, block.subject_token_type or ACCESS_TOKEN_TYPE, request, context)
    kind = block.subject_token_type or JWT_TYPE
    read = _file(stated, context) if stated is not None and stated.file is not None else _secret(stated, context)
    token = SecretStr(read.get_secret_value().strip())
    fault = _fault(token, kind)
    if fault is not None and stated is not None and stated.file is not None:
        raise SecretNotFound(f"the file of {_FIELD}, {stated.file!r}, {fault}: look at what writes it")
    if fault is not None:
        raise misconfigured(profile, f"{_FIELD}.secret_ref", f"names a secret that {fault}")
    return Subject(token, kind)


def _of_profile(named: tuple[str, str], kind: str, request: CredentialRequest, context: Context) -> Subject:
    section, name = named
    asked = CredentialRequest(
        kind=section,  # type: ignore[arg-type]  # the section of a profile is a kind
        profile=name,
        principal=request.principal,
        actor=request.actor,
        run_id=request.run_id,
    )
    held = context.get(asked)
    if not isinstance(held, AccessToken):
        raise misconfigured(context.profile, f"{_FIELD}.profile", f"names {name!r}, whose credentials are no token")
    return Subject(held.value, kind, held, asked)


def _file(stated: Settings, context: Context) -> SecretStr:
    path = stated.file or ""
    try:
        return SecretStr(context.environment.read(path).decode("ascii", "replace"))
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
    raise SecretNotFound(f"the file of {_FIELD}, {path!r}, could not be read: {why}")


def _secret(stated: Settings | None, context: Context) -> SecretStr:
    if stated is None or stated.secret is None:  # plan() has seen to it
        raise misconfigured(context.profile, _FIELD, "is missing")
    return context.secrets.resolve(stated.secret)


def _fault(token: SecretStr, kind: str) -> str | None:
    """What is wrong with the token: it may be half written, or the wrong file."""
    text = token.get_secret_value()
    if not text:
        return "is empty"
    if not VISIBLE.fullmatch(text):
        return "holds no token of visible ASCII"
    parts = text.split(".")
    # RFC 7519 section 3: three parts where it is signed, five where it is encrypted.
    if kind == JWT_TYPE and (len(parts) not in (3, 5) or not parts[0] or not parts[-1]):
        return "holds no whole JWT (is it another kind of token, set credentials.subject_token_type)"
    return None
