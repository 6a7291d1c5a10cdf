"""Secrets in Azure Key Vault: the latest version of ``<prefix><name>``.

https://learn.microsoft.com/en-us/rest/api/keyvault/secrets/get-secret/get-secret
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    IssueDenied,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.hosts import is_loopback
from credbroker.identity import azure as entra
from credbroker.identity.azure_managed import managed_identity_token
from credbroker.secrets._bearer import get, json_object, member, origin
from credbroker.secrets.backend import Backend, Lookup, lookup
from credbroker.secrets.login import Login
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import found
from credbroker.secrets.settings import BackendLogin, BackendSettings

if TYPE_CHECKING:
    from pydantic import SecretStr

_API_VERSION = "7.4"
_MANAGED = "managed_identity"
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
# The host of a vault says which cloud it is of, and with that whom to ask for a token, and for which resource:
# https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud. Key Vault also says it in the
# challenge of a 401, which is not followed: https://aka.ms/azsdk/blog/vault-uri tells of vaults that took tokens that way.
_VAULT = re.compile(r"[a-z0-9-]{3,24}\.(vault\.azure\.net|vault\.azure\.cn|vault\.usgovcloudapi\.net)(?::443)?")
_AUTHORITIES = {
    "vault.azure.net": entra.PUBLIC,
    "vault.azure.cn": "https://login.partner.microsoftonline.cn",
    "vault.usgovcloudapi.net": "https://login.microsoftonline.us",
}
_LOGIN = "look at tenant_id: it must be the tenant that the vault is of"
_UNREACHED = ("ForbiddenByFirewall", "ForbiddenByConnection")


class KeyVaultBackend:
    """Looks for a secret in one vault. A client secret, or a client id by reference, is one of the backends before it.

    Raises ``ConfigurationError`` when it is made, for an ``address`` that is no vault of a known cloud: a token for Key
    Vault opens every vault that the application may read. An emulator on loopback is its own authority.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend] = ()) -> None:
        auth = settings.auth
        if auth is None or (auth.method != _MANAGED and not (auth.tenant_id and auth.client_id)):
            raise settings.misconfigured("auth needs tenant_id and client_id")
        self._auth = auth
        self._prefix = settings.prefix
        self._origin, self._host = origin(settings.address or "", f"{settings.where}: address")
        vault = _VAULT.fullmatch(self._origin.removeprefix("https://"))
        if vault is not None:
            self._authority, self._scope = _AUTHORITIES[vault[1]], f"https://{vault[1]}/.default"
        elif is_loopback(self._host):
            self._authority, self._scope = self._origin, "https://vault.azure.net/.default"
        else:
            raise settings.misconfigured("address must be a vault's: https://<name>.vault.azure.net")
        self._earlier = tuple(earlier)
        self._login = Login(self._log_in)

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. A secret that is disabled is absent."""
        name = f"{self._prefix}{reference.secret_ref}"
        place = f"secret {name!r} of the vault {self._host!r}"
        if not _NAME.fullmatch(name):
            return Lookup(place, reason="Key Vault has no such names: up to 127 letters, digits and hyphens, no underscore")
        url = f"{self._origin}/secrets/{name}?api-version={_API_VERSION}"
        response = get(url, self._login, context, place=place, remedy=_LOGIN)
        result = _found(response, place, reference.field) if response.status == 200 else _missed(response, place)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _log_in(self, context: Context) -> tuple[SecretStr, float]:
        auth = self._auth
        stated = auth.client_id
        client_id = (
            found(self._earlier, stated, context).get_secret_value() if isinstance(stated, SecretReference) else stated
        )
        tenant_id, scope, authority = auth.tenant_id or "", self._scope, self._authority
        if auth.method == _MANAGED:
            try:
                return managed_identity_token(context, scope=scope, client_id=client_id)
            except CredentialUnavailable as error:
                # No chain goes on from here: a secret of another place is not this one.
                raise ConfigurationError(error.message) from None
        if auth.method == "workload_identity":
            return entra.workload_identity_token(
                auth.path or "", context, scope=scope, tenant_id=tenant_id, client_id=client_id or "", authority=authority
            )
        secrets = self._secrets(auth, context)
        return entra.client_secret_token(
            secrets, context, scope=scope, tenant_id=tenant_id, client_id=client_id or "", authority=authority
        )

    def _secrets(self, auth: BackendLogin, context: Context) -> Iterator[SecretStr]:
        """The client secret, and then another one: what stands in its place by now, or the ``next`` one of a rotation."""
        if auth.client_secret is None:
            raise ConfigurationError("auth.client_secret is missing: name the secret of the application")
        first = found(self._earlier, auth.client_secret, context)
        yield first
        for candidate in (auth.client_secret, auth.client_secret.successor):
            if candidate is None:
                continue
            try:
                other = found(self._earlier, candidate, context)
            except SecretNotFound:
                continue
            if other != first:
                yield other


def _missed(response: HttpResponse, place: str) -> Lookup | CredbrokerError:
    """What an answer without a secret says (https://learn.microsoft.com/en-us/azure/key-vault/general/rest-error-codes)."""
    answer = json_object(response.body)
    code = member(answer, "error", "code")
    if response.status == 404 and code == "SecretNotFound":
        return Lookup(place)
    if response.status == 403 and code == "Forbidden":
        inner = member(answer, "error", "innererror", "code") or member(answer, "error", "innerError", "code")
        if inner == "SecretDisabled":
            return Lookup(place, reason="it is disabled")
        if inner in _UNREACHED:
            return IssueDenied(f"{place}: HTTP 403 {inner}: the vault's network rules do not let this machine in")
        return IssueDenied(
            f"{place}: HTTP 403: give the application the role 'Key Vault Secrets User' on this vault (where it has access "
            "policies: the permission to get secrets)"
        )
    return MalformedResponse(f"{place}: HTTP {response.status}, which is no answer of Key Vault: look at the address")


def _found(response: HttpResponse, place: str, field: str | None) -> Lookup | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the secret in this frame's variables.
    value = json_object(response.body).get("value")
    if not isinstance(value, str):
        return MalformedResponse(f"{place}: the answer has no value: look at the address")
    return lookup(place, value, field)
