"""Azure's managed identities: the token that a machine, or an App Service, gets for itself without any secret.

Two ways lead to it. A virtual machine asks its metadata service (IMDS):
https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
App Service, Functions and Container Apps set two variables:
https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference
Which one it is depends on these variables alone: nothing is probed, and neither is tried after the other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.hosts import is_link_local, is_loopback, url_fault
from credbroker.wire.expiry import corrected, is_transient, retry_after
from credbroker.wire.token import json_object
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

IMDS = "http://169.254.169.254/metadata/identity/oauth2/token"
_ENDPOINT, _HEADER = "IDENTITY_ENDPOINT", "IDENTITY_HEADER"
_EPOCH = re.compile(r"[0-9]{1,10}")
# 404 and 410 while the service is being updated (the page on IMDS, "Error handling").
_UPDATING = (404, 410)


def managed_identity_token(context: Context, *, scope: str, client_id: str | None = None) -> tuple[SecretStr, float]:
    """The machine's own access token for ``scope`` (``<resource>/.default``), and its life in seconds. One request.

    ``client_id`` names one of several user-assigned identities. Raises ``CredentialUnavailable`` where the machine has no
    (such) identity, ``IssueDenied``, ``IssuerUnavailable`` where no service answers, ``MalformedResponse``,
    ``InsufficientLifetime``, ``ConfigurationError``.
    """
    asked = {"resource": scope.removesuffix("/.default")} | ({"client_id": client_id} if client_id else {})
    request, name = _request(asked, context)
    try:
        response = context.send(request)
    except IssuerUnavailable as error:
        raise error.saying(
            f"{error.message} ({name}): managed_identity is for what runs in Azure; name another credential_source elsewhere"
        ) from None
    outcome = _read(response, name, client_id)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _request(asked: dict[str, str], context: Context) -> tuple[HttpRequest, str]:
    endpoint, header = context.environment.variable(_ENDPOINT), context.environment.variable(_HEADER)
    if not endpoint and not header:
        query = urlencode({"api-version": "2018-02-01", **asked})
        return HttpRequest("GET", f"{IMDS}?{query}", {"metadata": "true"}, link_local=True), "Azure's metadata service"
    if not endpoint or not header:
        there, absent = (_HEADER, _ENDPOINT) if header else (_ENDPOINT, _HEADER)
        raise ConfigurationError(
            f"managed_identity finds {there} without {absent}: App Service sets both, others are not known"
        )
    host = (urlsplit(endpoint).hostname or "") if url_fault(endpoint, plain=True) is None else ""
    if not (is_loopback(host) or is_link_local(host)):
        # The header is a secret: it goes to this very machine, whatever the variable says.
        raise ConfigurationError(
            f"{_ENDPOINT} is no URL of this machine (loopback or 169.254.0.0/16): nothing was sent to it"
        )
    if not VISIBLE.fullmatch(header):
        raise ConfigurationError(f"{_HEADER} is not visible ASCII: look for a blank or a line end")
    query = urlencode({"api-version": "2019-08-01", **asked})
    return HttpRequest("GET", f"{endpoint}?{query}", {"x-identity-header": header}, link_local=True), _ENDPOINT


def _read(response: HttpResponse, name: str, client_id: str | None) -> tuple[SecretStr, float] | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the answer in this frame's variables.
    status, answer = response.status, json_object(response.body)
    if status in _UPDATING or is_transient(status):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{name} answered HTTP {status}: it is asked again later", retry_after=pause)
    if answer is None:
        return MalformedResponse(f"{name} answered HTTP {status} without JSON: look at what answers there")
    if status == 400 and answer.get("error") == "invalid_resource":
        return IssueDenied(f"{name} answered HTTP 400 invalid_resource: look at the scope, it is no resource of this tenant")
    if status == 400:
        # client_id itself is not shown: it may have come from a secret backend.
        which = "the identity that client_id names" if client_id else "a system-assigned identity, or name a client_id"
        return CredentialUnavailable(f"{name} answered HTTP 400: no such identity is assigned here: assign {which}")
    if status != 200:
        return IssueDenied(f"{name} answered HTTP {status}: it gives this process no token; look at what may ask it here")
    return _token(response, answer, name, client_id)


def _token(
    response: HttpResponse, answer: dict[str, object], name: str, client_id: str | None
) -> tuple[SecretStr, float] | CredbrokerError:
    from pydantic import SecretStr

    value, whose = answer.get("access_token"), answer.get("client_id")
    # Not expires_in, which counts from the token's issue: the service hands out what it has held for hours.
    ends = str(answer.get("expires_on"))
    if not isinstance(value, str) or not VISIBLE.fullmatch(value) or not _EPOCH.fullmatch(ends):
        return MalformedResponse(f"{name} answered without a token and its end (expires_on): look at what answers there")
    if client_id and isinstance(whose, str) and whose and whose.lower() != client_id.lower():
        return MalformedResponse(f"{name} answered with another identity's token than that of client_id: it is not used")
    end = corrected(datetime.fromtimestamp(int(ends), UTC), response.headers.get("date"), response.sent, response.received)
    life = (end - response.sent).total_seconds()
    if life <= 0:
        return InsufficientLifetime(f"{name} gave a token that is over on arrival: look at this machine's clock")
    return SecretStr(value), life
