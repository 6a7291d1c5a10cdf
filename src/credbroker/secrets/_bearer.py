"""How a cloud's secret manager is asked: one GET to a checked origin, with a token that is held between looks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, IssueDenied, IssuerUnavailable
from credbroker.hosts import url_fault
from credbroker.secrets.login import Login
from credbroker.wire.expiry import is_transient, retry_after

if TYPE_CHECKING:
    from pydantic import SecretStr


def origin(url: str, what: str) -> tuple[str, str]:
    """``scheme://host[:port]`` of a configured address, in lower case, and its host. ``what`` names it in errors.

    Raises ``ConfigurationError`` unless it is https, or http to loopback, without path, query and userinfo.
    """
    fault = url_fault(url)
    parts = urlsplit(url.lower()) if fault is None else None
    if parts is None or parts.path not in ("", "/"):
        raise ConfigurationError(f"{what} {fault or 'must be a host alone, without a path'}")
    return f"{parts.scheme}://{parts.netloc}", parts.hostname or ""


def get(url: str, login: Login, context: Context, *, place: str, remedy: str) -> HttpResponse:
    """The answer to a GET of ``url``, whatever its status, save those that ``place`` does not say something by.

    A held token may have been revoked meanwhile: after a 401 there is one new login, and one more call. What the answer says
    of where to log in (``WWW-Authenticate``) is not read: the server would decide where our credentials go.

    Raises ``IssuerUnavailable`` (429, 5xx), ``IssueDenied`` with ``remedy`` (401 for a new token too), and what the login
    and ``context.send`` raise.
    """
    token = login.token(context)
    response = context.send(_request(url, token))
    if response.status == 401:
        login.refused(token)
        token = login.token(context)
        response = context.send(_request(url, token))
    if response.status == 401:
        login.refused(token)
        raise IssueDenied(f"{place}: HTTP 401 for a new token too: {remedy}")
    if is_transient(response.status):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        raise IssuerUnavailable(f"{place}: HTTP {response.status}: it is asked again later", retry_after=pause)
    return response


def json_object(body: bytes) -> dict[str, object]:
    """The JSON object in ``body``; an empty one where there is none."""
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def member(parsed: object, *path: str) -> str:
    """The text at ``path`` of a parsed JSON object; empty where there is none."""
    for step in path:
        parsed = parsed.get(step) if isinstance(parsed, dict) else None
    return parsed if isinstance(parsed, str) else ""


def _request(url: str, token: SecretStr) -> HttpRequest:
    return HttpRequest("GET", url, {"authorization": f"Bearer {token.get_secret_value()}", "accept": "application/json"})
