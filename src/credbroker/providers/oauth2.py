"""Mode ``oauth2``: bearer tokens from a token endpoint by the client credentials grant (RFC 6749 section 4.4).

The form is our own: it takes any parameter, encodes the Basic header as the RFC has it (or raw, as Polaris wants it), and
records nothing that a later call could replay.
"""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from urllib.parse import quote_plus, urlencode, urlsplit

from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.profile import CatalogProfile, CredentialSettings, Profile
from credbroker.providers import Grant
from credbroker.providers.requirements import IN_PRODUCTION, check_url, misconfigured, need, settings
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.wire.expiry import corrected, retry_after
from credbroker.wire.token import is_json_object, parse_error, parse_token_response

_ALL_ROLES = "PRINCIPAL_ROLE:ALL"
_METHODS = ("client_secret_basic", "client_secret_post")
_CLIENT = "check client_id and the secret it names, and whether this client may use the client_credentials grant"
# Whether the grant was refused, and what to do. What is not listed was refused for the request's form.
_REFUSALS = {
    "invalid_client": (
        False,
        "check client_id and the secret; if that has special characters, try basic_encoding: raw, or client_secret_post",
    ),
    "unauthorized_client": (False, _CLIENT),
    "access_denied": (True, "the issuer's policy withholds the token from this client"),
    "invalid_grant": (True, "the issuer does not honour this grant any more"),
    "invalid_scope": (False, "check credentials.scope and scopes; Polaris wants PRINCIPAL_ROLE:<name>"),
    "invalid_target": (False, "the issuer does not know this audience"),
    "unsupported_grant_type": (False, "the issuer must allow the client_credentials grant"),
}
_BUSY = ("server_error", "temporarily_unavailable")


class OAuth2Provider:
    """Issues an ``AccessToken`` for a catalog or for compute."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``. A token has no policy; what it allows is the scope's to say."""
        block = settings(profile)
        if profile.kind not in ("catalog", "compute"):
            raise misconfigured(profile, "credentials.mode", "is oauth2, which issues tokens: use iam_role or static here")
        need(profile, "client_id", "client_secret")
        if block.token_endpoint_auth_method not in _METHODS:
            raise misconfigured(profile, "credentials.token_endpoint_auth_method", f"must be one of {', '.join(_METHODS)}")
        field, url = _configured_url(profile)
        if isinstance(url, str):
            check_url(profile, field, url)
        if profile.production:
            _refuse_all_roles(request, profile, block)
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
        """See ``Provider.issue``.

        A client that the issuer does not accept is presented once more, if there is another secret to present: the one
        that stands in its place by now, or the ``next`` one of a rotation.

        Raises ``SecretNotFound``, ``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``, ``InsufficientLifetime``.
        """
        profile = context.profile
        self.plan(request, profile)
        block = settings(profile)
        url = _token_url(profile, context)
        secret = context.secrets.resolve(_reference(block))
        response = context.send(_form(request, block, url, _client_id(block, context), secret))
        if _refuses_client(response):
            other = _other_secret(_reference(block), secret, context)
            if other is not None:
                response = context.send(_form(request, block, url, _client_id(block, context), other))
        if not 200 <= response.status < 300:
            raise _refused(response, urlsplit(url).hostname or "the issuer")
        return parse_token_response(
            response.body,
            sent=response.sent,
            default_ttl=block.default_ttl,
            correct=partial(
                corrected, date_header=response.headers.get("date"), sent=response.sent, received=response.received
            ),
        )


def _configured_url(profile: Profile) -> tuple[str, str | SecretReference]:
    """The field that decides where the token endpoint is, and what it says."""
    block = settings(profile)
    if block.token_url:
        return "credentials.token_url", block.token_url
    if isinstance(profile, CatalogProfile) and profile.uri:
        return "uri", profile.uri
    raise misconfigured(profile, "credentials.token_url", "is missing: mode 'oauth2' needs it")


def _token_url(profile: Profile, context: Context) -> str:
    field, url = _configured_url(profile)
    if isinstance(url, SecretReference):
        url = context.secrets.resolve(url).get_secret_value()
        check_url(profile, field, url)
    # The catalog's own endpoint, as the Iceberg REST specification had it and Polaris has it.
    return url if field == "credentials.token_url" else f"{url.rstrip('/')}/v1/oauth/tokens"


def _refuse_all_roles(request: CredentialRequest, profile: Profile, block: CredentialSettings) -> None:
    stated = {"credentials.scope": block.scope or ""}
    stated |= {f"credentials.scopes.{access.value}": scope for access, scope in block.scopes.items()}
    for field, scope in stated.items():
        if _ALL_ROLES in scope.split():
            raise misconfigured(profile, field, f"asks for {_ALL_ROLES}, refused {IN_PRODUCTION}: name the one role")
    if _ALL_ROLES in request.scopes:
        raise ConfigurationError(f"scope {_ALL_ROLES} is refused {IN_PRODUCTION}: name the one role", profile=profile.name)


def _reference(block: CredentialSettings) -> SecretReference:
    if block.client_secret is None:  # plan() has seen to it
        raise ConfigurationError("credentials.client_secret is missing")
    return block.client_secret


def _client_id(block: CredentialSettings, context: Context) -> SecretStr:
    stated = block.client_id
    client_id = context.secrets.resolve(stated) if isinstance(stated, SecretReference) else SecretStr(stated or "")
    if block.basic_encoding == "raw" and ":" in client_id.get_secret_value():
        # RFC 7617 section 2: the issuer would split there, and take the rest for the secret.
        raise misconfigured(context.profile, "credentials.client_id", "has a ':', which basic_encoding: raw cannot carry")
    return client_id


def _other_secret(reference: SecretReference, tried: SecretStr, context: Context) -> SecretStr | None:
    """Another secret than the one that was tried; the same one again could only lock the client out."""
    for candidate in (reference, reference.successor):
        if candidate is None:
            continue
        try:
            found = context.secrets.resolve(candidate)
        except SecretNotFound:
            continue
        if found != tried:
            return found
    return None


def _form(
    request: CredentialRequest, block: CredentialSettings, url: str, client_id: SecretStr, secret: SecretStr
) -> HttpRequest:
    fields = {"grant_type": "client_credentials"}
    scope = " ".join(sorted(request.scopes))
    if not scope and request.access is not None:
        scope = block.scopes.get(request.access, "")
    scope = scope or block.scope or ""
    if scope:
        fields["scope"] = scope
    audience = request.audience or block.audience
    if audience:
        fields["audience"] = audience
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if block.token_endpoint_auth_method == "client_secret_post":  # noqa: S105 - the name of a method
        fields |= {"client_id": client_id.get_secret_value(), "client_secret": secret.get_secret_value()}
    else:
        headers["authorization"] = _basic(client_id, secret, raw=block.basic_encoding == "raw")
    return HttpRequest("POST", url, headers, urlencode(fields).encode())


def _basic(client_id: SecretStr, secret: SecretStr, *, raw: bool) -> str:
    """RFC 6749 section 2.3.1: both parts are form-encoded first. Polaris and others split the header without decoding."""
    name, password = client_id.get_secret_value(), secret.get_secret_value()
    if not raw:
        name, password = quote_plus(name), quote_plus(password)
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def _refuses_client(response: HttpResponse) -> bool:
    """Whether the client itself was not accepted; Polaris says ``unauthorized_client``, a gateway may say nothing at all."""
    if not 400 <= response.status < 500:
        return False
    code = parse_error(response.body)
    return code == "invalid_client" or (response.status == 401 and code in (None, "unauthorized_client"))


def _refused(response: HttpResponse, host: str) -> CredbrokerError:
    code = parse_error(response.body)
    text = f"the token endpoint at {host} answered HTTP {response.status}" + (f" {code}" if code else "")
    if response.status == 501:
        return IssuerUnavailable(
            f"{text}: it leaves tokens to an identity provider; set credentials.token_url to that one's"
        )
    if response.status in (408, 425, 429) or response.status >= 500 or code in _BUSY:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if code is None and response.status == 401:
        return IssueDenied(f"{text}: {_CLIENT}")
    if code is None and response.status != 403 and not is_json_object(response.body):
        return MalformedResponse(f"{text} without a reason in JSON: check the token_url")
    grant_denied, remedy = _REFUSALS.get(code or "", (False, "check the token_url and the credentials block"))
    return IssueDenied(f"{text}: {remedy}", grant_denied=grant_denied)
