"""A cloud's token endpoint: what its answer to a base identity is worth. Nothing that it sends reaches an error's text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from credbroker.context import HttpRequest, HttpResponse
from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.wire.expiry import is_transient, retry_after
from credbroker.wire.token import is_json_object, parse_error, parse_token_response

if TYPE_CHECKING:
    from pydantic import SecretStr

_BUSY = ("server_error", "temporarily_unavailable")


def form(url: str, fields: Mapping[str, str]) -> HttpRequest:
    """The POST of a form (RFC 6749 section 4)."""
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return HttpRequest("POST", url, headers, urlencode(fields).encode())


def refuses_client(response: HttpResponse) -> bool:
    """Whether the client itself was not accepted: another secret of it may be (RFC 6749 section 5.2)."""
    return response.status in (400, 401) and parse_error(response.body) == "invalid_client"


def granted(
    response: HttpResponse,
    url: str,
    remedies: Mapping[str, str],
    otherwise: str,
    *,
    default_ttl: timedelta | None = None,
    exchanged: bool = False,
) -> tuple[SecretStr, float]:
    """The token that ``url`` answered with, and its life in seconds, counted from before it was asked for.

    ``remedies`` says what to do for each registered error code, ``otherwise`` for what has none. ``default_ttl`` is the life
    of a token whose answer states none, ``exchanged`` says that it is a token exchange's (RFC 8693). Raises ``IssueDenied``
    (who we are was not accepted, so no grant was judged), ``IssuerUnavailable``, ``MalformedResponse``,
    ``InsufficientLifetime``.
    """
    host = urlsplit(url).hostname or "the issuer"
    if response.status != 200:
        raise _refused(response, host, remedies, otherwise)
    try:
        token = parse_token_response(response.body, sent=response.sent, default_ttl=default_ttl, exchanged=exchanged)
    except MalformedResponse:
        token = None
    if token is None or token.expires_at is None:
        raise MalformedResponse(
            f"the token endpoint at {host} answered without a token and its lifetime: look at what stands between"
        )
    return token.value, (token.expires_at - response.sent).total_seconds()


def _refused(response: HttpResponse, host: str, remedies: Mapping[str, str], otherwise: str) -> CredbrokerError:
    code = parse_error(response.body)
    text = f"the token endpoint at {host} answered HTTP {response.status}" + (f" {code}" if code else "")
    if is_transient(response.status) or code in _BUSY:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if code is None and not is_json_object(response.body):
        return MalformedResponse(f"{text} without a reason in JSON: look at what stands between here and {host}")
    return IssueDenied(f"{text}: {remedies.get(code or '', otherwise)}")
