"""Google Cloud: a token for a service account by the right to impersonate it, shown by another identity's token.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.wire.expiry import corrected, is_transient, retry_after
from credbroker.wire.token import json_object
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]{1,200}\.gserviceaccount\.com|[0-9]{5,30}")
"""An account's e-mail address, or its unique id: it stands in the URL's path."""
LONGEST = timedelta(hours=1)
"""Up to 12 h where an organisation policy lists the account; nothing here needs more than an hour."""
_ORIGIN = "https://iamcredentials.googleapis.com"
_PLACE = "generateAccessToken at iamcredentials.googleapis.com"
_REMEDIES: Mapping[tuple[int, object], str] = {
    (401, "UNAUTHENTICATED"): "the base identity's own token is not accepted: look at credentials.credential_source",
    (403, "PERMISSION_DENIED"): "enable the API iamcredentials.googleapis.com in the base identity's project",
    (404, "NOT_FOUND"): "look at credentials.service_account: there is no such account",
}
# RFC 3339 in UTC, as protobuf's JSON writes a Timestamp: nothing, milli-, micro- or nanoseconds behind the seconds.
_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom to impersonate, through whom, for which scopes (divided by blanks) and how long."""

    account: str
    delegates: Sequence[str]
    scope: str
    lifetime: timedelta


def impersonated(source: SecretStr, wanted: Impersonation, context: Context) -> tuple[SecretStr, float]:
    """An access token for the account, and its life in seconds from before it was asked for. One request.

    Raises ``IssueDenied`` (``grant_denied`` where IAM judged the right to impersonate), ``ConfigurationError`` for a call
    that is refused as such, ``IssuerUnavailable``, ``MalformedResponse``, ``InsufficientLifetime``.
    """
    body: dict[str, object] = {
        "scope": wanted.scope.split(),
        "lifetime": f"{_seconds(wanted)}s",
    }
    if wanted.delegates:
        body["delegates"] = [f"projects/-/serviceAccounts/{delegate}" for delegate in wanted.delegates]
    headers = {
        "authorization": f"Bearer {source.get_secret_value()}",
        "content-type": "application/json",
        "accept": "application/json",
    }
    url = f"{_ORIGIN}/v1/projects/-/serviceAccounts/{wanted.account}:generateAccessToken"
    request = HttpRequest("POST", url, headers, json.dumps(body).encode())
    del headers  # what an error tracker shows of this frame must not be the token
    response = context.send(request)
    outcome = _granted(response) if response.status == 200 else _refused(response, wanted)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _seconds(wanted: Impersonation) -> int:
    return int(min(wanted.lifetime, LONGEST).total_seconds())


def _granted(response: HttpResponse) -> tuple[SecretStr, float] | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the token in this frame's variables.
    from pydantic import SecretStr

    answer = json_object(response.body) or {}
    token, stated = answer.get("accessToken"), answer.get("expireTime")
    ends = _instant(stated) if isinstance(stated, str) else None
    if not isinstance(token, str) or not VISIBLE.fullmatch(token) or ends is None:
        return MalformedResponse(f"{_PLACE} answered without a token and its end: look at what stands between")
    ends = corrected(ends, response.headers.get("date"), response.sent, response.received)
    life = (ends - response.sent).total_seconds()
    if life <= 0:
        return InsufficientLifetime(f"{_PLACE} sent a token that is over on arrival: look at this machine's clock")
    return SecretStr(token), life


def _instant(text: str) -> datetime | None:
    found = _INSTANT.fullmatch(text)
    try:
        return datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def _refused(response: HttpResponse, wanted: Impersonation) -> CredbrokerError:
    """What an answer without a token says (https://cloud.google.com/apis/design/errors)."""
    error = (json_object(response.body) or {}).get("error")
    code, status = response.status, error.get("status") if isinstance(error, dict) else None
    text = f"{_PLACE} answered HTTP {code} for {wanted.account}"
    if is_transient(code):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if code == 403 and status == "PERMISSION_DENIED" and isinstance(error, dict) and not _disabled(error):
        chain = f", each of credentials.delegates ({', '.join(wanted.delegates)}) on the next" if wanted.delegates else ""
        return IssueDenied(
            f"{text}: grant the base identity roles/iam.serviceAccountTokenCreator on the account that "
            f"credentials.service_account names (a federated one roles/iam.workloadIdentityUser){chain}; an account that "
            "does not exist is answered so too",
            grant_denied=True,
        )
    if code == 400 and status in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
        return ConfigurationError(
            f"{text} {status}: look at credentials.scope, delegates and service_account (and at max_ttl: "
            f"{_seconds(wanted)} s were asked for)"
        )
    remedy = _REMEDIES.get((code, status))
    if remedy is not None:
        return IssueDenied(f"{text}: {remedy}")
    return MalformedResponse(f"{text}, which is no answer of that API: look at what stands between")


def _disabled(error: dict[str, object]) -> bool:
    details = error.get("details")
    return isinstance(details, list) and any(
        isinstance(detail, dict) and detail.get("reason") == "SERVICE_DISABLED" for detail in details
    )
