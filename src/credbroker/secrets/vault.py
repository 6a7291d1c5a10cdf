"""Secrets in HashiCorp Vault or OpenBao: KV version 2, and leases of a dynamic engine. Our own HTTP, no client library.

Sources: Vault and OpenBao API documentation, "KV secrets engine, version 2", "Database secrets engine", "/sys/leases".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import SecretStr

from credbroker.context import Context, HttpResponse, Lease
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
)
from credbroker.secrets._vault_login import LoginToken, VaultLogin
from credbroker.secrets._vault_server import VaultServer, checked_server, errors_of, members_of, quoted_path, seconds_of
from credbroker.secrets.backend import Backend, Lookup, belong_together, stripped
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings
from credbroker.wire.visible import VISIBLE

_FIELD = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a name that ``field:`` could pick
_MOST_FIELDS = 10  # named in an error


class VaultBackend:
    """Looks for a secret in a vault's KV version 2 engine, at ``<mount>/data/<prefix><name>``, and leases logins.

    A request costs one round trip, the first one a login more. A login's token is held in memory until two thirds of its
    life are over; one that the vault refuses is replaced by a new login, once. A token that is given (``method: token``) is
    looked up at each use, and ought to live longer than the leases that are asked for with it.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        self._settings = settings
        self._login = VaultLogin(settings, earlier)
        self._mount = (settings.mount or "secret").strip("/")
        self._dynamic_mount = (settings.dynamic_mount or "database").strip("/")

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``: the latest version. A deleted or destroyed one is none."""
        server = checked_server(self._settings)
        mount = quoted_path(self._settings, "mount", self._mount)
        name = self._settings.prefix + reference.secret_ref
        path = f"{mount}/data/{quoted_path(self._settings, 'prefix', name)}"
        place = f"{server}, mount {self._mount!r}, path {name!r}"
        response = self._ask(server, "GET", path, context)
        if response.status == 404:
            absent = _absent(response)
            if absent is None:
                raise ConfigurationError(
                    f"{server} has no KV engine at {self._mount!r}: correct secret_backends.mount, namespace or address"
                )
            return Lookup(place, reason=absent or None)
        if response.status != 200:
            raise self._denied(server, f"read {self._mount}/data/{name}", response)
        found = _secret(place, response, reference.field)
        if found is None:
            raise server.malformed(f"{path} with no data of KV version 2: check that the engine at {self._mount!r} is that")
        return found

    def lease(self, reference: SecretReference, context: Context) -> Lease | Lookup:
        """See ``Lessor.lease``: the credentials of a role of the dynamic engine, as JSON, or their ``field``.

        A lease ends with the token that asked for it, so its lifetime is no longer than that login's.
        """
        server = checked_server(self._settings)
        mount = quoted_path(self._settings, "dynamic_mount", self._dynamic_mount)
        path = f"{mount}/creds/{quoted_path(self._settings, 'dynamic_mount', reference.secret_ref)}"
        asked = context.clock.elapsed()
        response, token = self._asked(server, "GET", path, context)
        # 400 is what the database engine says of a role that it does not know, and of much else.
        unknown = response.status == 400 and any("unknown role" in error.lower() for error in errors_of(response))
        if response.status == 404 or unknown:
            return Lookup(f"{server}, role {self._dynamic_mount}/creds/{reference.secret_ref}")
        if response.status != 200:
            what = f"read {self._dynamic_mount}/creds/{reference.secret_ref}"
            raise self._denied(server, what, response, of_grant=isinstance(token, LoginToken))
        left = token.ends - asked if isinstance(token, LoginToken) else float("inf")
        outcome = _leased(server, response, reference.field, left, _lease_name(server))
        if isinstance(outcome, CredbrokerError):
            raise outcome
        return outcome

    def revoke(self, lease: str, context: Context) -> bool:
        """See ``Lessor.revoke``. It waits for the end of the login; a lease that has ended by itself is revoked, too."""
        server = checked_server(self._settings)
        own = _lease_name(server)
        if not lease.startswith(own):
            return False
        body = {"lease_id": lease.removeprefix(own), "sync": True}
        response = self._ask(server, "PUT", "sys/leases/revoke", context, body)
        if response.status == 400:
            raise IssuerUnavailable(
                f"{server} could not end the lease (HTTP 400): see whether it reaches the system that the login is for"
            )
        if response.status not in (200, 204):
            raise self._denied(server, "update sys/leases/revoke", response, of_grant=False)
        return True

    def _ask(
        self, server: VaultServer, method: str, path: str, context: Context, body: Mapping[str, object] | None = None
    ) -> HttpResponse:
        return self._asked(server, method, path, context, body)[0]

    def _asked(
        self, server: VaultServer, method: str, path: str, context: Context, body: Mapping[str, object] | None = None
    ) -> tuple[HttpResponse, SecretStr]:
        """The answer, and the token that brought it: by the held login, or by a new one where that is refused."""
        token = self._login.token(context)
        response = server.send(server.request(method, path, token=token, body=body), context)
        if response.status == 403 and self._login.refused(token):
            token = self._login.token(context)
            response = server.send(server.request(method, path, token=token, body=body), context)
        return response, token

    def _denied(self, server: VaultServer, what: str, response: HttpResponse, *, of_grant: bool = False) -> CredbrokerError:
        if response.status != 403:
            return server.malformed(f"HTTP {response.status} to a request to {what}")
        token = "the token is not valid any more, or " if self._login.given else ""
        return IssueDenied(
            f"{server} does not let {self._login} {what} (HTTP 403): {token}its policy has to allow that path",
            grant_denied=of_grant,
        )


def _lease_name(server: VaultServer) -> str:
    """How the names of its leases begin. No address and no namespace holds a blank: no other vault's begin so."""
    return f"vault {server.address} {server.namespace or '-'} "


# The three below raise nothing: their locals are the secret itself.


def _absent(response: HttpResponse) -> str | None:
    """Why there is no secret at that path, empty where nothing is there; None where not even the engine is."""
    data = (members_of(response) or {}).get("data")
    if not isinstance(data, dict):
        # "no handler for route", "namespace not found"; where a path holds nothing, nothing is said.
        return None if errors_of(response) else ""
    metadata = data.get("metadata")
    destroyed = isinstance(metadata, dict) and metadata.get("destroyed") is True
    return f"its latest version was {'destroyed' if destroyed else 'deleted'}"


def _secret(place: str, response: HttpResponse, field: str | None) -> Lookup | None:
    """What the latest version holds; None for an answer that is none of KV version 2."""
    outer = (members_of(response) or {}).get("data")
    data = outer.get("data") if isinstance(outer, dict) else None
    if not isinstance(data, dict):
        return None
    texts = {name: stripped(value) for name, value in data.items() if isinstance(value, str) and stripped(value)}
    needed = belong_together(data)
    if field is None and needed is not None and texts.keys() >= needed:
        return Lookup(place, SecretStr(json.dumps(texts)))
    if field is None and len(data) == 1:
        (field,) = data
    if field in texts:
        return Lookup(place, SecretStr(texts[field]))
    return Lookup(place, reason=_why_none(data, field, needed))


def _why_none(data: Mapping[str, object], field: str | None, needed: frozenset[str] | None) -> str:
    if field is not None:
        return f"it has no text under {_shown(field)!r}"
    if needed is not None:
        return f"one of its fields {', '.join(sorted(needed))} is no text, or empty"
    if not data:
        return "it is empty"
    named = sorted(_shown(name) for name in data)[:_MOST_FIELDS]
    return f"it holds the fields {', '.join(named)}{', ...' if len(named) < len(data) else ''}: pick one with 'field:'"


def _shown(name: str) -> str:
    return name if _FIELD.fullmatch(name) else "(no legal name)"


def _leased(
    server: VaultServer, response: HttpResponse, field: str | None, left: float, own: str
) -> Lease | CredbrokerError:
    answer = members_of(response) or {}
    data, lease_id, life = answer.get("data"), answer.get("lease_id"), seconds_of(answer.get("lease_duration"))
    if not isinstance(data, dict) or not isinstance(lease_id, str) or not VISIBLE.fullmatch(lease_id) or not life:
        return server.malformed("with no lease: check that secret_backends.dynamic_mount is a dynamic engine's")
    secret = json.dumps(data) if field is None else data.get(field)
    if not isinstance(secret, str) or not secret:
        return ConfigurationError(f"{server} gives leases of that name that have no text under {field!r}")
    return Lease(SecretStr(secret), timedelta(seconds=min(life, left)), own + lease_id)
