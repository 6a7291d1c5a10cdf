"""The form that asks for a token (RFC 6749 4.4.2, RFC 7523 2.1, RFC 8693 2.1, RFC 8707 2).

It is a list in order: ``resource`` may stand in it several times. Who the client is stands in ``_client_auth``.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from credbroker.limits import asked_scopes, stated_scope
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers._client_auth import Fields
from credbroker.providers._subject_token import Subject, check_subject
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.token import ACCESS_TOKEN_TYPE, JWT_TYPE

CLIENT_CREDENTIALS = "client_credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SHORT = {CLIENT_CREDENTIALS: CLIENT_CREDENTIALS, EXCHANGE: "token-exchange", JWT_BEARER: "jwt-bearer"}
"""The grants, and how else each may be written."""
# What the profile says by keys of its own, and what proves who we are: a parameter beside them would be a second word on it,
# and servers differ in which of two they take.
_OURS = frozenset(
    {"assertion", "audience", "client_id", "client_secret", "code", "code_verifier", "grant_type", "password"}
    | {"refresh_token", "requested_token_type", "resource", "scope", "token"}
)
_FAMILIES = ("actor_token", "client_assertion", "subject_token")


def grant(block: CredentialSettings) -> str:
    """The profile's grant by its full name; what is unknown as it is written."""
    return next((full for full, short in SHORT.items() if block.grant_type in (full, short)), block.grant_type)


def exchanges(block: CredentialSettings) -> bool:
    """Whether the profile's grant is a token exchange."""
    return grant(block) == EXCHANGE


def has_subject(block: CredentialSettings) -> bool:
    """Whether the profile's grant is somebody's token: to be exchanged, or as an assertion."""
    return grant(block) in (EXCHANGE, JWT_BEARER)


def check_form(profile: Profile) -> None:
    """Raise ``ConfigurationError`` for a grant that is not known, or a form that contradicts itself."""
    block = settings(profile)
    if grant(block) not in SHORT:
        fault = f"must be {CLIENT_CREDENTIALS}, {SHORT[EXCHANGE]} ({EXCHANGE}) or {SHORT[JWT_BEARER]} ({JWT_BEARER})"
        raise misconfigured(profile, "credentials.grant_type", fault)
    if has_subject(block):
        check_subject(profile)
    elif block.subject_token is not None:
        fault = f"is set, and grant_type is {CLIENT_CREDENTIALS}: set grant_type: {SHORT[EXCHANGE]}, or leave it out"
        raise misconfigured(profile, "credentials.subject_token", fault)
    if grant(block) == JWT_BEARER and block.subject_token_type not in (None, JWT_TYPE):
        fault = f"is no JWT's, and grant_type is {SHORT[JWT_BEARER]}, which takes nothing else: leave it out"
        raise misconfigured(profile, "credentials.subject_token_type", fault)
    for name in block.parameters:
        if name.lower() in _OURS or name.lower().startswith(_FAMILIES):
            fault = "says again what a key of the credentials block says, or what proves who we are: use that key"
            raise misconfigured(profile, f"credentials.parameters.{name}", fault)
    if block.scopes and not stated_scope(None, profile):
        fault = f"is missing: scopes has none for {profile.access.value!r}, and without one the issuer gives what it likes"
        raise misconfigured(profile, "credentials.scope", fault)
    for resource in block.resource:
        if not _is_absolute(resource):
            fault = "must hold absolute URIs without a fragment (RFC 8707 section 2); for a plain name use audience"
            raise misconfigured(profile, "credentials.resource", fault)


def form(request: CredentialRequest, profile: Profile, subject: Subject | None) -> Fields:
    """The form for ``request``; with a ``subject``, to be given an access token for that."""
    block = settings(profile)
    if subject is None:
        fields: list[tuple[str, object]] = [("grant_type", CLIENT_CREDENTIALS)]
    elif grant(block) == JWT_BEARER:
        fields = [("grant_type", JWT_BEARER), ("assertion", subject.value)]
    else:
        fields = [
            ("grant_type", EXCHANGE),
            ("subject_token", subject.value),
            ("subject_token_type", subject.type),
            ("requested_token_type", ACCESS_TOKEN_TYPE),
        ]
    fields.append(("scope", " ".join(sorted(asked_scopes(request, profile)))))
    fields.append(("audience", request.audience or block.audience or ""))
    fields += [("resource", resource) for resource in block.resource]
    fields += block.parameters.items()
    return [(name, value) for name, value in fields if value != ""]  # type: ignore[misc]


def _is_absolute(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path) and "#" not in uri
