"""The form that asks for a token (RFC 6749 section 4.4.2, RFC 8693 section 2.1, RFC 8707 section 2), without its client.

It is a list in order: ``resource`` may stand in it several times.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from credbroker.limits import asked_scopes, stated_scope
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers._client_auth import Fields
from credbroker.providers._subject_token import Subject, check_subject
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.token import ACCESS_TOKEN_TYPE

CLIENT_CREDENTIALS = "client_credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_EXCHANGE_FOR_SHORT = "token-exchange"
# What the profile says by keys of its own, and what proves who we are: a parameter beside them would be a second word on it,
# and servers differ in which of two they take.
_OURS = frozenset(
    {"assertion", "audience", "client_id", "client_secret", "code", "code_verifier", "grant_type", "password"}
    | {"refresh_token", "requested_token_type", "resource", "scope", "token"}
)
_FAMILIES = ("actor_token", "client_assertion", "subject_token")


def exchanges(block: CredentialSettings) -> bool:
    """Whether the profile's grant is a token exchange."""
    return block.grant_type in (EXCHANGE, _EXCHANGE_FOR_SHORT)


def check_form(profile: Profile) -> None:
    """Raise ``ConfigurationError`` for a grant that is not known, or a form that contradicts itself."""
    block = settings(profile)
    if exchanges(block):
        check_subject(profile)
    elif block.grant_type != CLIENT_CREDENTIALS:
        fault = f"must be {CLIENT_CREDENTIALS} or {_EXCHANGE_FOR_SHORT} ({EXCHANGE})"
        raise misconfigured(profile, "credentials.grant_type", fault)
    elif block.subject_token is not None:
        fault = f"is set, and grant_type is {CLIENT_CREDENTIALS}: set grant_type: {_EXCHANGE_FOR_SHORT}, or leave it out"
        raise misconfigured(profile, "credentials.subject_token", fault)
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
    """The form for ``request``; with a ``subject``, to exchange that for an access token."""
    block = settings(profile)
    if subject is None:
        fields: list[tuple[str, object]] = [("grant_type", CLIENT_CREDENTIALS)]
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
