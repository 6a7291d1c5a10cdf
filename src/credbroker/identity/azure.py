"""Microsoft Entra: an access token for an application, by a client secret or by a federated token.

The documented exchange is spoken directly, as one POST:
https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow#get-a-token
azure-identity 1.27 makes two requests of it: first it fetches the tenant's OpenID configuration, and then it sends the
secret to whichever token endpoint that names, so that an answer would decide where it goes. It also takes 150 ms more to
import, holds tokens in a cache of its own, and reads a federated token's file only every ten minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.identity._token_endpoint import form, granted, refuses_client
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

PUBLIC = "https://login.microsoftonline.com"
"""The authority of the public cloud."""
# A directory id, or a domain of it: it stands in the URL's path.
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_REMEDY = "look at tenant_id and client_id"
_ABSENT = "no application of this client_id is in this tenant, or it is disabled: look at both"
_OF_SECRET = {
    "invalid_client": "look at the client secret: its value (not its id) may be wrong, or over its expiry date",
    "unauthorized_client": _ABSENT,
}
_OF_FEDERATION = {
    "invalid_client": (
        "look at the application's federated credential: its issuer, subject and audience must be those of the token in the "
        "file, which must not be expired"
    ),
    "unauthorized_client": _ABSENT,
}


def client_secret_token(
    secrets: Iterable[SecretStr], context: Context, *, scope: str, tenant_id: str, client_id: str, authority: str = PUBLIC
) -> tuple[SecretStr, float]:
    """An access token for ``scope`` (``<resource>/.default``) by a client secret, and its life in seconds.

    ``secrets`` are tried in their order, at most two of them: the second is read, and sent, only where the first is answered
    with ``invalid_client``, as it is during a rotation. Raises ``ConfigurationError``, ``SecretNotFound`` (there is none),
    ``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``.
    """
    url = _url(authority, tenant_id)
    response = None
    for _, secret in zip(range(2), secrets, strict=False):
        response = context.send(_form(url, client_id, scope, secret, of_federation=False))
        if not refuses_client(response):
            break
    if response is None:
        raise SecretNotFound("no client secret was given")
    return granted(response, url, _OF_SECRET, _REMEDY)


def workload_identity_token(
    path: str, context: Context, *, scope: str, tenant_id: str, client_id: str, authority: str = PUBLIC
) -> tuple[SecretStr, float]:
    """The same by the federated token in the file ``path``, as Kubernetes projects it. It is read afresh at each call.

    https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow, third case. Raises as
    ``client_secret_token`` does, ``ConfigurationError`` also where the file is not there or holds no token.
    """
    url = _url(authority, tenant_id)
    token = _federated(path, context)
    if isinstance(token, ConfigurationError):
        raise token
    return granted(context.send(_form(url, client_id, scope, token, of_federation=True)), url, _OF_FEDERATION, _REMEDY)


def _url(authority: str, tenant_id: str) -> str:
    if not _TENANT.fullmatch(tenant_id):
        raise ConfigurationError("tenant_id must be the directory's id, or one of its domains")
    return f"{authority}/{tenant_id}/oauth2/v2.0/token"


def _form(url: str, client_id: str, scope: str, proof: SecretStr, *, of_federation: bool) -> HttpRequest:
    fields = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
    if of_federation:
        fields |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": proof.get_secret_value()}
    else:
        fields["client_secret"] = proof.get_secret_value()
    return form(url, fields)


def _federated(path: str, context: Context) -> SecretStr | ConfigurationError:
    # An error is returned: raised here, its traceback would keep the token in this frame's variables.
    from pydantic import SecretStr

    try:
        text = context.environment.read(path).decode("ascii").strip()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        return ConfigurationError(
            f"the federated token's file {path!r} cannot be read: {why}: mount it, or correct its path"
        )
    except UnicodeDecodeError:
        text = ""
    if not VISIBLE.fullmatch(text):
        return ConfigurationError(f"the federated token's file {path!r} holds no token: one line of visible ASCII")
    return SecretStr(text)
