"""Azure's user delegation key: asked of one storage account, and its answer read strictly.

https://learn.microsoft.com/en-us/rest/api/storageservices/get-user-delegation-key
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from credbroker.context import HttpRequest, HttpResponse
from credbroker.credentials import DelegationKey
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.wire.expiry import corrected, is_transient, retry_after

if TYPE_CHECKING:
    from pydantic import SecretStr

LONGEST = timedelta(days=7)
"""No key lives longer, from its start on."""
_VERSION = "2020-12-06"
# The answer is one flat element. Read by its very form, it has no place for a document type, an entity or a namespace.
# It is stripped before: two runs of blanks next to each other take time by the square of their length.
_DOCUMENT = re.compile(
    r"(?:<\?xml[^<>]*\?>\s*)?<UserDelegationKey>((?:\s*<([A-Za-z]+)>[^<>&]*</\2>)*)\s*</UserDelegationKey>"
)
_LONGEST_DOCUMENT = 8 * 1024  # bytes; a key is less than one thousand
_FIELD = re.compile(r"<([A-Za-z]+)>([^<>&]*)</\1>")
_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FIELDS = ("SignedOid", "SignedTid", "SignedStart", "SignedExpiry", "SignedService", "SignedVersion", "Value")
_ROLE = "grant the identity 'Storage Blob Delegator' on the storage account (a role on a container alone is not enough)"
_REMEDIES = {
    "AuthorizationPermissionMismatch": _ROLE,
    "AuthorizationFailure": "the account's network rules do not let this machine in, or its role is missing",
    "InsufficientAccountPermissions": _ROLE,
    "AccountIsDisabled": "the account is disabled",
    "InvalidAuthenticationInfo": "the account does not accept the token: look at whether tenant_id is the account's tenant",
    "AuthenticationFailed": "the account does not accept the token: look at tenant_id, and at this machine's clock",
    "FeatureNotSupportedForAccount": "the account is of a kind without user delegation keys",
}
_JUDGED = frozenset({"AuthorizationPermissionMismatch", "InsufficientAccountPermissions"})


def key_request(host: str, token: SecretStr, start: datetime, expiry: datetime) -> HttpRequest:
    """The request for a key from ``start`` until ``expiry``, whole seconds, of the account at ``host``."""
    info = f"<KeyInfo><Start>{_written(start)}</Start><Expiry>{_written(expiry)}</Expiry></KeyInfo>"
    headers = {
        "authorization": f"Bearer {token.get_secret_value()}",
        "x-ms-version": _VERSION,
        "content-type": "application/xml",
        "accept": "application/xml",
    }
    body = f'<?xml version="1.0" encoding="utf-8"?>{info}'.encode()
    return HttpRequest("POST", f"https://{host}/?restype=service&comp=userdelegationkey", headers, body)


def account_lead(response: HttpResponse) -> timedelta:
    """By how much the account's clock leads ours, in whole seconds; below zero where it is behind.

    As ``corrected`` tells it from ``Date``, rounded up: what ends there, ends here no sooner than is told.
    """
    now = response.received
    behind = corrected(now, response.headers.get("date"), response.sent, now) - now
    return -timedelta(seconds=behind // timedelta(seconds=1))


def delegation_key(
    response: HttpResponse, host: str, *, start: datetime, expiry: datetime, reserve: timedelta = timedelta()
) -> DelegationKey:
    """The key in the answer of ``host`` to a request for ``start`` until ``expiry``.

    Its ``expires_at`` is ``reserve`` before its end, by our clock: until then, it can sign a SAS of that life.

    Raises ``IssueDenied`` (``grant_denied`` where the identity's right was judged), ``IssuerUnavailable``,
    ``MalformedResponse``.
    """
    outcome = _read(response, host, start, expiry, reserve)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _read(
    response: HttpResponse, host: str, start: datetime, expiry: datetime, reserve: timedelta
) -> DelegationKey | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the key in this frame's variables.
    if response.status != 200:
        return _refused(response, host)
    malformed = MalformedResponse(f"{host} answered without a user delegation key as it is documented: look at what answers")
    fields = _fields(response.body)
    if fields is None:
        return malformed
    from pydantic import SecretStr

    lead = account_lead(response)
    try:
        begins, ends = datetime.fromisoformat(fields["SignedStart"]), datetime.fromisoformat(fields["SignedExpiry"])
        key = DelegationKey(
            oid=fields["SignedOid"],
            tid=fields["SignedTid"],
            start=begins,
            expiry=ends,
            service=fields["SignedService"],
            version=fields["SignedVersion"],
            value=SecretStr(fields["Value"]),
            expires_at=ends - lead - reserve,
            lead=lead,
        )
    except MalformedResponse as error:
        return error.fresh()
    except (ValueError, OverflowError):  # the years 1 and 9999
        return malformed
    if ends > expiry or begins < start:
        return MalformedResponse(f"{host} answered with a user delegation key for longer than was asked: it is not used")
    return key


def _fields(body: bytes) -> dict[str, str] | None:
    if len(body) > _LONGEST_DOCUMENT:
        return None
    try:
        document = _DOCUMENT.fullmatch(body.decode("utf-8-sig").strip())
    except UnicodeDecodeError:
        return None
    if document is None:
        return None
    found = _FIELD.findall(document[1])
    fields = {name: text.strip() for name, text in found}
    if len(fields) != len(found) or not all(fields.get(name) for name in _FIELDS):
        return None
    return fields if all(_INSTANT.fullmatch(fields[name]) for name in ("SignedStart", "SignedExpiry")) else None


def _refused(response: HttpResponse, host: str) -> CredbrokerError:
    code = response.headers.get("x-ms-error-code", "")
    if code not in _REMEDIES:
        stated = _CODE.search(response.body.decode("utf-8", "replace"))
        code = stated[1] if stated is not None and stated[1] in _REMEDIES else ""
    text = f"{host} answered the request for a user delegation key with HTTP {response.status}" + (
        f" {code}" if code else ""
    )
    if is_transient(response.status):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if response.status in (401, 403):
        remedy = _REMEDIES.get(code, _ROLE if response.status == 403 else _REMEDIES["InvalidAuthenticationInfo"])
        return IssueDenied(f"{text}: {remedy}", grant_denied=code in _JUDGED)
    if code:
        return IssueDenied(f"{text}: {_REMEDIES[code]}")
    if response.status == 404:
        return ConfigurationError(f"{text}: look at whether this is a storage account's host")
    return MalformedResponse(f"{text}: look at what answers there")


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
