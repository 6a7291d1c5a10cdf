"""Secrets in Google Cloud's Secret Manager: the latest version of ``<prefix><name>``.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpResponse
from credbroker.errors import CredbrokerError, IssueDenied, MalformedResponse
from credbroker.identity import gcp_sts
from credbroker.identity.gcp import CLOUD_PLATFORM, service_account_token
from credbroker.identity.gcp_metadata import metadata_token
from credbroker.identity.gcp_subject import of_file
from credbroker.secrets._bearer import get, json_object, member, origin
from credbroker.secrets.backend import Backend, Lookup, lookup
from credbroker.secrets.login import Login
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import found
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.wire.token import JWT_TYPE

if TYPE_CHECKING:
    from pydantic import SecretStr

_ENDPOINT = "https://secretmanager.googleapis.com"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9.:-]{0,61}[a-z0-9])?")  # an id, a number, or a domain's: example.com:id
# Refusals that are not about the right to this secret (google.rpc.ErrorInfo).
_OTHER_REASONS = {
    "SERVICE_DISABLED": "enable the API secretmanager.googleapis.com in this project",
    "SECURITY_POLICY_VIOLATED": "a perimeter of VPC Service Controls does not let this machine in",
}
_LOGIN = "look at the service account, and at what this endpoint is"


class SecretManagerBackend:
    """Looks for a secret in one project. A service account's key is a secret of the backends before it.

    Raises ``ConfigurationError`` when it is made: no ``project`` id, an ``endpoint`` that is no https address, a login that
    lacks what it needs.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend] = ()) -> None:
        if not _PROJECT.fullmatch(settings.project or ""):
            raise settings.misconfigured("project must be a project's id or number")
        if settings.auth is None:
            raise settings.misconfigured("auth is missing: say how Secret Manager is logged in to")
        _check(settings.auth, settings)
        self._project = settings.project
        self._prefix = settings.prefix
        self._origin, _ = origin(settings.endpoint or _ENDPOINT, f"{settings.where}: endpoint")
        self._auth = settings.auth
        self._earlier = tuple(earlier)
        self._login = Login(self._log_in)

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. A version that is disabled or destroyed is absent: no older one is taken for it."""
        name = f"{self._prefix}{reference.secret_ref}"
        place = f"secret {name!r} of project {self._project!r} in Secret Manager"
        if not _NAME.fullmatch(name):
            return Lookup(place, reason="there are no such names: up to 255 letters, digits, '-' and '_'")
        url = f"{self._origin}/v1/projects/{self._project}/secrets/{name}/versions/latest:access"
        response = get(url, self._login, context, place=place, remedy=_LOGIN)
        result = _found(response, place, reference.field) if response.status == 200 else _missed(response, place)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _log_in(self, context: Context) -> tuple[SecretStr, float]:
        auth = self._auth
        if auth.method == "metadata":
            return metadata_token(context, scope=CLOUD_PLATFORM)
        if auth.key is not None:
            return service_account_token(found(self._earlier, auth.key, context), context)
        token, audience = of_file(auth.path or "", context), auth.audience or ""
        answer = gcp_sts.ask(token, JWT_TYPE, context, audience=audience, scope=CLOUD_PLATFORM)
        return gcp_sts.federated(answer, block="auth")


def _check(auth: BackendLogin, settings: BackendSettings) -> None:
    if auth.method == "service_account_key" and auth.key is None:
        raise settings.misconfigured("auth.key is missing: the service account's key, as a reference to a secret")
    if auth.method == "web_identity" and not gcp_sts.PROVIDER.fullmatch(auth.audience or ""):
        raise settings.misconfigured(f"auth.audience is no provider of a workload identity pool: {gcp_sts.PROVIDER_FORM}")


def _missed(response: HttpResponse, place: str) -> Lookup | CredbrokerError:
    """What an answer without a secret says (https://cloud.google.com/apis/design/errors)."""
    answer = json_object(response.body)
    status = member(answer, "error", "status")
    if response.status == 404 and status == "NOT_FOUND":
        return Lookup(place)
    if response.status == 400 and status == "FAILED_PRECONDITION":
        return Lookup(place, reason="its latest version is disabled or destroyed")
    if response.status == 403 and status == "PERMISSION_DENIED":
        other = next((remedy for reason, remedy in _OTHER_REASONS.items() if _has_reason(answer, reason)), None)
        if other is not None:
            return IssueDenied(f"{place}: HTTP 403: {other}")
        return IssueDenied(
            f"{place}: HTTP 403: grant the service account roles/secretmanager.secretAccessor on this secret; a secret that "
            "does not exist may be answered so too"
        )
    return MalformedResponse(f"{place}: HTTP {response.status}, which is no answer of Secret Manager: look at the endpoint")


def _has_reason(answer: dict[str, object], reason: str) -> bool:
    error = answer.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    return isinstance(details, list) and any(member(detail, "reason") == reason for detail in details)


def _found(response: HttpResponse, place: str, field: str | None) -> Lookup | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the secret in this frame's variables.
    payload = json_object(response.body).get("payload")
    encoded = payload.get("data") if isinstance(payload, dict) else None
    try:
        data = b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except ValueError:
        data = None
    if data is None:
        return MalformedResponse(f"{place}: the answer has no payload in base64: look at the endpoint")
    stated = member(payload, "dataCrc32c")  # an int64, which JSON carries as text
    if stated and stated != str(_crc32c(data)):
        return MalformedResponse(f"{place}: the payload does not match its checksum: it was changed on the way")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Lookup(place, reason="it is not UTF-8 text")
    return lookup(place, text, field)


def _crc32c(data: bytes) -> int:
    """RFC 3720 appendix B.4 (Castagnoli). In Python: 64 KiB, the largest payload, take a few milliseconds."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
