"""One vault's HTTP API: where it is, how it is asked, and what an answer that is no secret means.

Sources: HashiCorp Vault and OpenBao, "HTTP API" (headers, error bodies, status codes) and "/sys/health" (472, 473).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import CredbrokerError, IssuerUnavailable, MalformedResponse
from credbroker.hosts import url_fault
from credbroker.secrets.settings import BackendSettings
from credbroker.wire.expiry import is_transient, retry_after
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# 412: this replica has not caught up with what the client has seen. 472, 473: a standby of another kind than was asked for.
_LATER = frozenset({412, 472, 473})
_ADDRESS = "check secret_backends.address"


@dataclass(frozen=True, slots=True)
class VaultServer:
    """Where a vault is, checked. It holds no token."""

    address: str
    namespace: str | None = None

    def request(
        self, method: str, path: str, *, token: SecretStr | None = None, body: Mapping[str, object] | None = None
    ) -> HttpRequest:
        """A request to ``path`` (quoted) below ``/v1/``. The header against forged requests is always in it."""
        headers = {"x-vault-request": "true", "accept": "application/json"}
        if self.namespace is not None:
            headers["x-vault-namespace"] = self.namespace
        if token is not None:
            headers["x-vault-token"] = token.get_secret_value()
        if body is None:
            return HttpRequest(method, f"{self.address}/v1/{path}", headers)
        headers["content-type"] = "application/json"
        return HttpRequest(method, f"{self.address}/v1/{path}", headers, json.dumps(body).encode())

    def send(self, request: HttpRequest, context: Context) -> HttpResponse:
        """Send ``request`` once; the answer has a status that speaks of it (200, 204, 400, 403 or 404).

        Raises ``IssuerUnavailable`` for a vault that is sealed, throttles or stands by, ``MalformedResponse`` for what no
        vault says, and what ``Http.send`` raises.
        """
        response = context.send(request)
        failure = self._failure(response)
        if failure is not None:
            raise failure
        return response

    def malformed(self, fault: str) -> MalformedResponse:
        """The error for an answer that lacks what it must hold."""
        return MalformedResponse(f"{self} answered {fault}")

    def __str__(self) -> str:
        return f"the vault at {self.address}" + (f" (namespace {self.namespace!r})" if self.namespace else "")

    def _failure(self, response: HttpResponse) -> CredbrokerError | None:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        if response.status == 503 and any("sealed" in error.lower() for error in errors_of(response)):
            return IssuerUnavailable(f"{self} is sealed: an operator has to unseal it", retry_after=pause)
        if response.status in _LATER or is_transient(response.status):
            text = f"{self} answered HTTP {response.status}: it is asked again later"
            return IssuerUnavailable(text, retry_after=pause)
        if not _is_vaults(response):
            return self.malformed(f"HTTP {response.status} without the JSON of a vault: {_ADDRESS}")
        return None


def checked_server(settings: BackendSettings) -> VaultServer:
    """The vault that ``settings`` name. Raises ``ConfigurationError``: its tokens go over https, or to this machine."""
    address = (settings.address or "").rstrip("/")
    fault = url_fault(address)
    if fault is not None:
        raise settings.misconfigured(f"address {fault}")
    if settings.namespace is not None and not VISIBLE.fullmatch(settings.namespace):
        raise settings.misconfigured("namespace must be visible ASCII: it becomes a header")
    return VaultServer(address, settings.namespace or None)


def quoted_path(settings: BackendSettings, field: str, path: str) -> str:
    """``path``, each segment percent-encoded.

    Raises ``ConfigurationError`` for one that leads elsewhere: clients and proxies resolve ``..`` before the vault sees it,
    so that a prefix could name another mount, which the policy may allow.
    """
    segments = path.split("/")
    if any(segment in ("", ".", "..") or _CONTROL.search(segment) for segment in segments):
        raise settings.misconfigured(f"{field} has an empty, '.' or '..' segment, or a control character")
    return "/".join(quote(segment, safe="") for segment in segments)


def _is_vaults(response: HttpResponse) -> bool:
    """Whether a vault says this of the request itself. What a gateway says of a path is nothing of the secret there."""
    members = members_of(response)
    if response.status in (400, 403, 404):
        return members is not None and (isinstance(members.get("errors"), list) or isinstance(members.get("data"), dict))
    return response.status == 204 or (response.status == 200 and members is not None)


def members_of(response: HttpResponse) -> Mapping[str, object] | None:
    """The JSON object in the answer, or None. It may hold secrets: no frame that raises keeps it."""
    try:
        parsed: object = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def errors_of(response: HttpResponse) -> list[str]:
    """What the vault says is wrong: to be judged, never to be shown."""
    errors = (members_of(response) or {}).get("errors")
    return [error for error in errors if isinstance(error, str)] if isinstance(errors, list) else []


def seconds_of(stated: object) -> int | None:
    """A lifetime as a vault states it; None for what is no sane one. A bool is an int to Python, and no number here."""
    if isinstance(stated, bool) or not isinstance(stated, int):
        return None
    return stated if 0 <= stated <= 100 * 366 * 86_400 else None
