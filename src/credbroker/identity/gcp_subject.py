"""The token that a workload identity pool is shown, where it comes from a file or from a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.hosts import is_metadata_service, url_fault
from credbroker.wire.expiry import retry_after
from credbroker.wire.jwt import unverified_claims
from credbroker.wire.token import json_object
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

    from credbroker.profile import SubjectToken


def subject_url_fault(url: str) -> str | None:
    """What keeps a token from being asked for at ``url``; None: nothing does. Plain http stays on this machine."""
    return url_fault(url, query=True, plain=is_metadata_service(_host(url)))


def of_file(path: str, context: Context) -> SecretStr:
    """The JWT in the file ``path``, read afresh.

    Raises ``CredentialUnavailable`` where there is none, ``ConfigurationError`` where it is half written.
    """
    token = _read(path, context)
    if isinstance(token, CredbrokerError):
        raise token
    return token


def of_url(stated: SubjectToken, context: Context) -> SecretStr:
    """The token that ``stated.url`` answers a GET with: the member ``stated.field`` of its JSON, else the whole text.

    Raises ``CredentialUnavailable`` where there is no such thing there, ``IssueDenied``, ``IssuerUnavailable``,
    ``MalformedResponse``.
    """
    url = stated.url or ""
    host = _host(url)
    response = context.send(HttpRequest("GET", url, stated.headers, link_local=is_metadata_service(host)))
    token = _answered(response, stated, f"the URL of credentials.subject_token at {host}")
    if isinstance(token, CredbrokerError):
        raise token
    return token


def _read(path: str, context: Context) -> SecretStr | CredbrokerError:
    # An error is returned: raised here, its traceback would keep the token in this frame's variables.
    from pydantic import SecretStr

    place = f"the web identity token's file {path!r}"
    try:
        text = context.environment.read(path).decode("ascii", "replace").strip()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        return CredentialUnavailable(f"{place} cannot be read: {why}: mount it, or correct its path")
    if not VISIBLE.fullmatch(text) or unverified_claims(text) is None:
        return ConfigurationError(f"{place} holds no whole JWT, and nothing was sent: look at what writes it")
    return SecretStr(text)


def _answered(response: HttpResponse, stated: SubjectToken, place: str) -> SecretStr | CredbrokerError:
    from pydantic import SecretStr

    if response.status != 200:
        return _refusal(response, place)
    answer = json_object(response.body)
    if stated.field is None and answer is not None:
        return MalformedResponse(f"{place} answered with JSON: name the token's member in credentials.subject_token.field")
    if stated.field is not None:
        found = (answer or {}).get(stated.field)
        text = found if isinstance(found, str) else ""
    else:
        text = response.body.decode("ascii", "replace").strip()
    if not VISIBLE.fullmatch(text):
        what = "no token" if stated.field is None else f"no token in its member {stated.field!r}"
        return MalformedResponse(f"{place} answered with {what}: look at credentials.subject_token (url, headers, field)")
    return SecretStr(text)


def _refusal(response: HttpResponse, place: str) -> CredbrokerError:
    status, text = response.status, f"{place} answered HTTP {response.status}"
    if status in (408, 425, 429) or status >= 500:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if status == 404:
        return CredentialUnavailable(f"{text}: there is no token here: look at the URL")
    if status in (400, 401, 403):
        return IssueDenied(f"{text}: look at the URL's query and at credentials.subject_token.headers")
    return MalformedResponse(f"{text}, which is no token: look at the URL")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
