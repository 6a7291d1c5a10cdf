"""Where an issuer's endpoints are: as the profile names them, or as the issuer's own metadata does (RFC 8414)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable, MalformedResponse
from credbroker.hosts import host_matches
from credbroker.profile import CatalogProfile, Profile
from credbroker.providers._client_auth import METHODS, MUTUAL_TLS
from credbroker.providers.requirements import check_url, misconfigured, settings
from credbroker.secrets.reference import SecretReference
from credbroker.wire.expiry import is_transient, retry_after
from credbroker.wire.token import json_object

# A name or an address. To somebody on the way, "evil.example;.idp.example" may end at its ";".
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_ISSUER = "credentials.issuer"
_OAUTH, _OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


def configured_endpoint(profile: Profile) -> tuple[str, str | SecretReference]:
    """The field that decides where the token endpoint is, and what it says.

    ``token_url`` wins, then ``issuer``, then the ``uri`` of a catalog. Raises ``ConfigurationError`` where there is none.
    """
    block = settings(profile)
    if block.token_url:
        return "credentials.token_url", block.token_url
    if block.issuer:
        return _ISSUER, block.issuer
    if isinstance(profile, CatalogProfile) and profile.uri:
        return "uri", profile.uri
    raise misconfigured(profile, "credentials.token_url", "is missing: mode 'oauth2' needs it, or credentials.issuer")


def token_endpoint(context: Context) -> str:
    """The URL to ask for tokens.

    An ``issuer`` without a ``token_url`` is asked for it at each issue, so that an endpoint that moves is found with no
    restart: a round trip more (two, where only the OpenID form is served), which naming ``token_url`` saves.
    """
    profile = context.profile
    field, url = configured_endpoint(profile)
    if field == _ISSUER:
        found = discovered("token_endpoint", context)
        if found is None:
            raise MalformedResponse(f"the metadata of {url} names no token_endpoint: set credentials.token_url")
        return found
    if isinstance(url, SecretReference):
        url = context.secrets.resolve(url).get_secret_value()
        check_url(profile, field, url)
    # The catalog's own endpoint, as the Iceberg REST specification had it and Polaris has it.
    return url if field != "uri" else f"{url.rstrip('/')}/v1/oauth/tokens"


def audience(context: Context, token_url: str) -> str:
    """Who an assertion is for (RFC 7523 section 3): the issuer's identifier where it is configured, else the token endpoint.

    The issuer comes first, and as the profile writes it: a malicious server whose metadata names another's token endpoint
    would have our assertion for that endpoint, and could use it there (the audience injection found in 2025, for which
    draft-ietf-oauth-rfc7523bis allows the issuer's identifier alone).
    """
    return settings(context.profile).issuer or token_url


def discovered(name: str, context: Context) -> str | None:
    """Ask the profile's issuer for its endpoint of that name (RFC 8414 section 2), None where it has none.

    Its metadata is looked for at the place of RFC 8414 section 3.1, and after a 404 at that of OpenID Connect. Raises
    ``ConfigurationError`` for an issuer that calls itself otherwise or does not know our way to authenticate,
    ``IssuerUnavailable``, and ``MalformedResponse`` for an endpoint that our secrets are not sent to.
    """
    profile = context.profile
    issuer = settings(profile).issuer
    if issuer is None:
        raise misconfigured(profile, _ISSUER, "is missing: the issuer is asked for its endpoints there")
    url, answer = "", None
    for url in _places(issuer):
        answer = context.send(HttpRequest("GET", url, {"accept": "application/json"}))
        if answer.status != 404:
            break
    found = _document(answer, url, profile)
    _check_issuer(found, issuer, profile)
    _check_method(found, profile)
    aliases = found.get("mtls_endpoint_aliases")
    if settings(profile).token_endpoint_auth_method in MUTUAL_TLS and isinstance(aliases, dict):
        found = {**found, **aliases}  # RFC 8705 section 5: where the server asks for a certificate
    return _endpoint(found, name, url, profile)


def _places(issuer: str) -> tuple[str, str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        urlunsplit((parts.scheme, parts.netloc, f"{_OAUTH}{path}", "", "")),
        urlunsplit((parts.scheme, parts.netloc, f"{path}{_OPENID}", "", "")),
    )


def _document(answer: HttpResponse | None, url: str, profile: Profile) -> dict[str, object]:
    found = json_object(answer.body) if answer is not None and answer.status == 200 else None
    if found is None:
        raise _unread(answer, url, profile)
    return found


def _unread(answer: HttpResponse | None, url: str, profile: Profile) -> CredbrokerError:
    status = answer.status if answer is not None else 404
    if answer is None or status == 404:
        return misconfigured(profile, _ISSUER, "has no metadata (HTTP 404): check it, or set credentials.token_url")
    if is_transient(status):
        pause = retry_after(answer.headers.get("retry-after"), answer.received)
        return IssuerUnavailable(f"{url} answered HTTP {status}: it is asked again later", retry_after=pause)
    return MalformedResponse(
        f"{url} answered HTTP {status} and no metadata in JSON: check credentials.issuer, or set credentials.token_url"
    )


def _check_issuer(found: dict[str, object], issuer: str, profile: Profile) -> None:
    """RFC 8414 section 3.3: the two are identical, or else the metadata may be another's."""
    stated = found.get("issuer")
    if stated == issuer:
        return
    if isinstance(stated, str) and stated.rstrip("/") == issuer.rstrip("/"):
        own = issuer.rstrip("/")
        meant = f"{own}/" if stated == f"{own}/" else own
        if stated == meant:
            # Not what was received: what is configured, with or without its slash.
            raise misconfigured(
                profile, _ISSUER, f"differs by a trailing '/' from what the issuer calls itself: write {meant}"
            )
    raise misconfigured(
        profile,
        _ISSUER,
        "is not what the issuer calls itself: take the very text of 'issuer' in its metadata, if it is the one",
    )


def _check_method(found: dict[str, object], profile: Profile) -> None:
    offered = found.get("token_endpoint_auth_methods_supported")
    own = settings(profile).token_endpoint_auth_method
    if isinstance(offered, list) and own not in offered:
        known = ", ".join(method for method in METHODS if method in offered) or "none that is known here"
        fault = f"is {own!r}, which the issuer does not offer: it offers {known}"
        raise misconfigured(profile, "credentials.token_endpoint_auth_method", fault)


def _endpoint(found: dict[str, object], name: str, url: str, profile: Profile) -> str | None:
    """The endpoint of that name, if it is one that our secrets may go to; its URL is never shown."""
    stated = found.get(name)
    if stated is None:
        return None
    field = "credentials.token_url" if name == "token_endpoint" else "credentials.revocation_url"
    issuer = urlsplit(settings(profile).issuer or "")
    try:
        if not isinstance(stated, str):
            raise misconfigured(profile, field, "is no text")
        check_url(profile, "credentials.token_url", stated)  # it may have a query, too
        parts = urlsplit(stated)
        if issuer.scheme == "https" and parts.scheme != "https":
            raise misconfigured(profile, field, "is plain http")
    except ConfigurationError:
        raise MalformedResponse(
            f"{url} names a {name} that no secret is sent to: it must be an https URL; or set {field}"
        ) from None
    host, own = parts.hostname or "", issuer.hostname or ""
    if not _HOST.fullmatch(host):
        raise MalformedResponse(f"{url} names a {name} whose host is no host's name; nothing was sent there")
    if host != own and not host.endswith(f".{own}") and not host_matches(host, profile.allowed_hosts):
        raise MalformedResponse(
            f"{url} names a {name} on another host than the issuer's {own}; nothing was sent there: if that is right, add "
            f"its host to network.allowed_hosts, or set {field}"
        )
    return stated
