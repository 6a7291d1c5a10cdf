"""Mode ``oauth2``: bearer tokens by client credentials (RFC 6749 4.4), assertion (RFC 7523 2.1) or exchange (RFC 8693).

The form is our own: it takes any parameter, several of one name, encodes the Basic header as the RFC has it (or raw, as
Polaris wants it), and records nothing that a later call could replay.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from credbroker.context import Context, HttpResponse
from credbroker.credentials import AccessToken, Credential
from credbroker.errors import ConfigurationError, IssuerUnavailable, MalformedResponse
from credbroker.limits import asked_scopes
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers import Grant, Revocation
from credbroker.providers._client_auth import MUTUAL_TLS, Client, Fields, check_client, refuses_client
from credbroker.providers._discovery import audience, configured_endpoint, discovered, token_endpoint
from credbroker.providers._subject_token import Subject, subject
from credbroker.providers._token_refusal import refused
from credbroker.providers._token_request import JWT_BEARER, check_form, exchanges, form, grant, has_subject
from credbroker.providers.realm import realm_header
from credbroker.providers.requirements import IN_PRODUCTION, check_url, misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.wire.expiry import corrected, is_transient, retry_after
from credbroker.wire.token import parse_error, parse_token_response

_ALL_ROLES = "PRINCIPAL_ROLE:ALL"


class OAuth2Provider:
    """Issues an ``AccessToken`` for a catalog or for compute, and has it revoked."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``. A token has no policy; what it allows is the scope's to say."""
        block = settings(profile)
        if profile.kind not in ("catalog", "compute"):
            raise misconfigured(profile, "credentials.mode", "is oauth2, which issues tokens: use iam_role or static here")
        check_client(profile, may_be_nobody=has_subject(block))
        check_form(profile)
        realm_header(profile)
        _check_urls(profile, block)
        if profile.production:
            _refuse_all_roles(request, profile, block)
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
        """See ``Provider.issue``.

        The endpoint is ``token_url``; without it what the ``issuer`` names, which is a round trip more; else the catalog's
        own. A client that the issuer does not accept is presented once more, if there is another secret to present: the one
        that stands in its place by now, or the ``next`` one of a rotation. Another profile's token that it refuses to
        take is invalidated, and the new one tried once.

        Raises ``SecretNotFound``, ``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``, ``InsufficientLifetime``.
        """
        profile = context.profile
        self.plan(request, profile)
        block = settings(profile)
        url = token_endpoint(context)
        client = Client(context, audience(context, url), request)
        only_jwt = grant(block) == JWT_BEARER
        shown = subject(request, context, only_jwt=only_jwt) if has_subject(block) else None
        response = client.post(url, form(request, profile, shown), realm_header(profile))
        if shown is not None and _renewable(shown, response, context):
            shown = subject(request, context, only_jwt=only_jwt)
            response = client.post(url, form(request, profile, shown), realm_header(profile))
        if not 200 <= response.status < 300:
            raise refused(response, _host(url), block)
        token = parse_token_response(
            response.body,
            sent=response.sent,
            default_ttl=block.default_ttl,
            correct=partial(
                corrected, date_header=response.headers.get("date"), sent=response.sent, received=response.received
            ),
            exchanged=exchanges(block),
        )
        if exchanges(block):
            _check_not_widened(token, shown, request, profile)
        return token

    def revoke(self, value: Credential, request: CredentialRequest, context: Context) -> Revocation:
        """Have the issuer take the token back (RFC 7009), at ``revocation_url``, else where the ``issuer`` says.

        A token that the server cannot take back, and a server that takes none, are no error: ``revoked`` is false then, with
        what a human does instead. Raises ``IssuerUnavailable`` and whatever authenticating to the issuer raises.
        """
        profile = context.profile
        self.plan(request, profile)
        block = settings(profile)
        if not isinstance(value, AccessToken):
            raise ConfigurationError("only an access token is revoked by RFC 7009", profile=profile.name)
        url = block.revocation_url
        if url is None and block.issuer:
            url = discovered("revocation_endpoint", context)
        if url is None:
            return _not_revoked(value, "no revocation endpoint is known (credentials.revocation_url)")
        fields: Fields = [("token", value.value), ("token_type_hint", "access_token")]
        client = Client(context, block.issuer or token_endpoint(context), request)
        response = client.post(url, fields, realm_header(profile))
        return _revocation(value, response, _host(url))


def _check_urls(profile: Profile, block: CredentialSettings) -> None:
    field, url = configured_endpoint(profile)
    stated = {field: url, "credentials.issuer": block.issuer, "credentials.revocation_url": block.revocation_url}
    for name, text in stated.items():
        if not isinstance(text, str):
            continue
        check_url(profile, name, text)
        if block.token_endpoint_auth_method in MUTUAL_TLS and text.lower().startswith("http:"):
            fault = "is plain http, which presents no client certificate: use https, or another token_endpoint_auth_method"
            raise misconfigured(profile, name, fault)


def _refuse_all_roles(request: CredentialRequest, profile: Profile, block: CredentialSettings) -> None:
    stated = {"credentials.scope": block.scope or ""}
    stated |= {f"credentials.scopes.{access.value}": scope for access, scope in block.scopes.items()}
    for field, scope in stated.items():
        if _ALL_ROLES in scope.split():
            raise misconfigured(profile, field, f"asks for {_ALL_ROLES}, refused {IN_PRODUCTION}: name the one role")
    if _ALL_ROLES in request.scopes:
        raise ConfigurationError(f"scope {_ALL_ROLES} is refused {IN_PRODUCTION}: name the one role", profile=profile.name)


def _renewable(shown: Subject, response: HttpResponse, context: Context) -> bool:
    """Whether the issuer refused another profile's token, and that profile has let go of it."""
    if shown.held is None or shown.request is None:
        return False
    code = parse_error(response.body) if 400 <= response.status < 500 else None
    if code not in ("invalid_grant", "invalid_request") and not (code is None and response.status == 401):
        return False
    return context.invalidate(shown.request, shown.held)


def _check_not_widened(token: AccessToken, exchanged: Subject | None, request: CredentialRequest, profile: Profile) -> None:
    """An exchange that asks for no scope gives at most the subject's own, where both state theirs."""
    if exchanged is None or exchanged.held is None or asked_scopes(request, profile):
        return
    wider = len(token.scopes - exchanged.held.scopes)
    if exchanged.held.scopes and wider:
        raise MalformedResponse(
            f"the issuer exchanged a token for one with {wider} scope(s) more: name in credentials.scope what is to be had"
        )


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the issuer"


def _revocation(value: AccessToken, response: HttpResponse, host: str) -> Revocation:
    code = parse_error(response.body)
    text = f"the revocation endpoint at {host} answered HTTP {response.status}" + (f" {code}" if code else "")
    if 200 <= response.status < 300:
        return Revocation(revoked=True, reason=f"the issuer at {host} took the token back")
    if is_transient(response.status):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        raise IssuerUnavailable(f"{text}: ask again later", retry_after=pause)
    if code == "unsupported_token_type":
        return _not_revoked(value, f"{text}: it takes back no token of this kind (a JWT is valid until its end)")
    if refuses_client(response):
        return _not_revoked(value, f"{text}: it does not accept this client")
    return _not_revoked(value, text)


def _not_revoked(value: AccessToken, reason: str) -> Revocation:
    end = value.expires_at.isoformat(timespec="seconds") if value.expires_at is not None else "its end, which is not known"
    return Revocation(revoked=False, reason=reason, runbook=f"disable the client at the issuer, or wait until {end}")
