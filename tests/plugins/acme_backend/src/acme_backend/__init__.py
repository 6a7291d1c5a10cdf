"""Acme's vault as a secret backend of credbroker: the type ``acme_vault``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import IssueDenied, IssuerUnavailable
from credbroker.secrets.backend import Backend, Lookup, lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import found
from credbroker.secrets.settings import BackendSettings
from credbroker.wire.expiry import retry_after

if TYPE_CHECKING:
    from pydantic import SecretStr


class AcmeVault:
    """Looks on one shelf of the vault."""

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        shelf = settings.options.get("shelf")
        login = settings.auth.token if settings.auth is not None else None
        if not settings.address or not isinstance(shelf, str) or login is None:
            raise settings.misconfigured("acme_vault needs an address, a shelf and an auth with a token")
        self._shelf = f"{settings.address}/shelves/{shelf}"
        self._login = login
        self._earlier = tuple(earlier)

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """Look for the secret now. Nothing is kept: a secret that was rotated is seen at the next issue."""
        place = f"Acme's vault at {self._shelf}/{reference.secret_ref}"
        token = found(self._earlier, self._login, context)
        response = context.send(_asking(f"{self._shelf}/{reference.secret_ref}", token))
        if response.status == 404:
            return Lookup(place)  # it is not there: the next backend is asked
        if response.status in (401, 403):
            raise IssueDenied(f"{place}: HTTP {response.status}: look at the token that auth names")
        if response.status != 200:
            pause = retry_after(response.headers.get("retry-after"), response.received)
            raise IssuerUnavailable(f"{place}: HTTP {response.status}", retry_after=pause)
        return _read(response, place, reference.field)


def _asking(url: str, token: SecretStr) -> HttpRequest:
    return HttpRequest("GET", url, {"authorization": f"Bearer {token.get_secret_value()}"})


def _read(response: HttpResponse, place: str, field: str | None) -> Lookup:
    """It raises nothing: its locals are the secret itself."""
    try:
        parsed: object = json.loads(response.body)
    except (ValueError, RecursionError):
        return Lookup(place, reason="its answer is no JSON")
    value = parsed.get("value") if isinstance(parsed, dict) else None
    return lookup(place, value, field) if isinstance(value, str) else Lookup(place, reason="its answer has no value")
