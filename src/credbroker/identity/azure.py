"""Microsoft Entra: an access token for an application, by a client secret, a certificate or a federated token.

The documented exchange is spoken directly, as one POST:
https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow#get-a-token
azure-identity 1.27 makes two requests of it: first it fetches the tenant's OpenID configuration, and then it sends the
secret to whichever token endpoint that names, so that an answer would decide where it goes. It also takes 150 ms more to
import, holds tokens in a cache of its own, and reads a federated token's file only every ten minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    SecretNotFound,
)
from credbroker.identity._token_endpoint import form, granted, refuses_client
from credbroker.wire.jwt import instant, unverified_claims
from credbroker.wire.token import json_object
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

PUBLIC = "https://login.microsoftonline.com"
"""The authority of the public cloud."""
CHINA = "https://login.partner.microsoftonline.cn"
US_GOVERNMENT = "https://login.microsoftonline.us"
"""Those of the others: https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud."""
# A directory id, or a domain of it: it stands in the URL's path.
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_REMEDY = "look at tenant_id and client_id"
_ABSENT = "no application of this client_id is in this tenant, or it is disabled: look at both"
_OF_SECRET = {
    "invalid_client": "look at the client secret: its value (not its id) may be wrong, or over its expiry date",
    "unauthorized_client": _ABSENT,
}
_OF_CERTIFICATE = {
    "invalid_client": (
        "look at the certificate: it must be registered with this very application and not be over its end, and this "
        "machine's clock must be right"
    ),
    "unauthorized_client": _ABSENT,
}
_TRUST = (
    "look at the application's federated credential: its issuer, subject and audience must be those of the token that is "
    "presented, which must not be expired"
)
_OF_FEDERATION = {"invalid_client": _TRUST, "unauthorized_client": _ABSENT}
_NO_TENANT = "no such tenant is known to this cloud: look at tenant_id"
_NO_SCOPE = (
    "the scope is none that an application can be given: a resource that this tenant knows, and '/.default' behind it"
)
# https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes. The numbers say more than OAuth2's codes;
# no other number, and no text of the answer, is ever told.
_KNOWN: Mapping[int, str] = {
    90002: _NO_TENANT,
    900021: _NO_TENANT,
    900023: _NO_TENANT,
    700016: _ABSENT,
    7000112: "the application is disabled: enable it in Entra, or look at client_id",
    7000215: _OF_SECRET["invalid_client"],
    7000222: "the client secret is over its expiry date: make a new one, and name it by next: before this one ends",
    700024: "the assertion is not within its times: look at whether the token is expired, and at this machine's clock",
    700027: _OF_CERTIFICATE["invalid_client"],
    70021: _TRUST,
    700211: "the application has no federated credential for the token's issuer",
    700212: "the application's federated credential is for another audience than the token's",
    700213: "the application has no federated credential for the token's subject",
    500011: _NO_SCOPE,
    70011: _NO_SCOPE,
    1002012: _NO_SCOPE,
    53003: "a conditional access policy blocks this application from here",
}


def client_secret_token(
    secrets: Iterable[SecretStr], context: Context, *, scope: str, tenant_id: str, client_id: str, authority: str = PUBLIC
) -> tuple[SecretStr, float]:
    """An access token for ``scope`` (``<resource>/.default``) by a client secret, and its life in seconds.

    ``secrets`` are tried in their order, at most two of them: the second is read, and sent, only where the first is answered
    with ``invalid_client``, as it is during a rotation. Raises ``ConfigurationError``, ``SecretNotFound`` (there is none),
    ``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``.
    """
    asked = _Asked(token_endpoint(authority, tenant_id), client_id, scope)
    return _by(secrets, context, asked, "client_secret", _OF_SECRET)


def certificate_token(
    assertions: Iterable[SecretStr],
    context: Context,
    *,
    scope: str,
    tenant_id: str,
    client_id: str,
    authority: str = PUBLIC,
) -> tuple[SecretStr, float]:
    """The same by assertions that the application's certificate signed, for ``token_endpoint`` as their audience.

    https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials. Raises as ``client_secret_token``.
    """
    asked = _Asked(token_endpoint(authority, tenant_id), client_id, scope)
    return _by(assertions, context, asked, "client_assertion", _OF_CERTIFICATE)


def federated_identity_token(
    tokens: Iterable[SecretStr], context: Context, *, scope: str, tenant_id: str, client_id: str, authority: str = PUBLIC
) -> tuple[SecretStr, float]:
    """The same by another issuer's tokens, which a federated credential of the application trusts.

    https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow, third case. Raises as
    ``client_secret_token``.
    """
    asked = _Asked(token_endpoint(authority, tenant_id), client_id, scope)
    return _by(tokens, context, asked, "client_assertion", _OF_FEDERATION)


def workload_identity_token(
    path: str, context: Context, *, scope: str, tenant_id: str, client_id: str, authority: str = PUBLIC
) -> tuple[SecretStr, float]:
    """The same by the federated token in the file ``path``, as Kubernetes projects it. It is read afresh at each call.

    Raises as ``client_secret_token`` does, ``ConfigurationError`` also where the file is not there or holds no token, and
    ``InsufficientLifetime`` where that is expired.
    """
    token = federated_token(path, context)
    if isinstance(token, CredentialUnavailable | SecretNotFound):
        # No chain goes on from here: a secret of another place is not this one.
        raise ConfigurationError(token.message)
    if isinstance(token, CredbrokerError):
        raise token
    return federated_identity_token(
        [token], context, scope=scope, tenant_id=tenant_id, client_id=client_id, authority=authority
    )


def federated_token(path: str, context: Context) -> SecretStr | CredbrokerError:
    """The token in the file ``path``, or the error to raise, and then nothing is to be sent.

    That is ``CredentialUnavailable`` where there is no such file, ``SecretNotFound`` where it holds no whole JWT, as while
    it is being written, and ``InsufficientLifetime`` where it is expired.
    """
    # An error is returned: raised here, its traceback would keep the token in this frame's variables.
    from pydantic import SecretStr

    try:
        text = context.environment.read(path).decode("ascii").strip()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        return CredentialUnavailable(
            f"the federated token's file {path!r} cannot be read: {why}: mount it, or correct its path"
        )
    except UnicodeDecodeError:
        text = ""
    if not VISIBLE.fullmatch(text):
        return SecretNotFound(f"the federated token's file {path!r} holds no token: one line of visible ASCII")
    claims = unverified_claims(text)
    if claims is None:
        return SecretNotFound(f"the federated token's file {path!r} holds no whole JWT: look at what writes it")
    end = instant(claims, "exp")
    if end is not None and end <= context.clock.now():
        return InsufficientLifetime(
            f"the federated token's file {path!r} holds a token that is over by this machine's clock, and was not sent: "
            "look why nothing has replaced it (a pod's is the kubelet's to replace), and whether the clock is right"
        )
    return SecretStr(text)


def token_endpoint(authority: str, tenant_id: str) -> str:
    """Where a tenant's applications get their tokens. Raises ``ConfigurationError`` for what is no tenant's id."""
    if not _TENANT.fullmatch(tenant_id):
        raise ConfigurationError("tenant_id must be the directory's id, or one of its domains")
    return f"{authority}/{tenant_id}/oauth2/v2.0/token"


@dataclass(frozen=True, slots=True)
class _Asked:
    url: str
    client_id: str
    scope: str


def _by(
    proofs: Iterable[SecretStr], context: Context, asked: _Asked, field: str, remedies: Mapping[str, str]
) -> tuple[SecretStr, float]:
    response = None
    for _, proof in zip(range(2), proofs, strict=False):
        response = context.send(_form(asked, field, proof))
        if not refuses_client(response):
            break
    if response is None:
        raise SecretNotFound("no client secret was given")
    number, remedy = _reason(response)
    return granted(response, asked.url, {} if remedy else remedies, f"AADSTS{number}, {remedy}" if remedy else _REMEDY)


def _form(asked: _Asked, field: str, proof: SecretStr) -> HttpRequest:
    fields = {"grant_type": "client_credentials", "client_id": asked.client_id, "scope": asked.scope}
    fields[field] = proof.get_secret_value()
    if field == "client_assertion":
        fields["client_assertion_type"] = _ASSERTION_TYPE
    return form(asked.url, fields)


def _reason(response: HttpResponse) -> tuple[int, str]:
    """The number of a refusal and what to do about it, if it is one of those that are known."""
    if response.status == 200:
        return 0, ""
    numbers = (json_object(response.body) or {}).get("error_codes")
    for number in numbers if isinstance(numbers, list) else ():
        if isinstance(number, int) and number in _KNOWN:
            return number, _KNOWN[number]
    return 0, ""
