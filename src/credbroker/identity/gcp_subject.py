"""The token that a workload identity pool is shown, where it comes from a file or from a URL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
from credbroker.hosts import is_link_local, is_metadata_service, url_fault
from credbroker.wire.expiry import is_transient, retry_after
from credbroker.wire.jwt import unverified_claims
from credbroker.wire.token import json_object
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

    from credbroker.profile import SubjectToken
    from credbroker.secrets.reference import SecretReference

_AZURE = ("169.254.169.254", "/metadata/identity/oauth2/token")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110 section 5.1
_VALUE = re.compile(r"[!-~](?:[ -~]{0,16382}[!-~])?")  # section 5.5: no line end, which would begin another header
# Who is asked, and where the request ends, is the transport's to say.
_TRANSPORTS = frozenset(
    {"host", "connection", "content-length", "expect", "keep-alive", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)


def subject_url_fault(url: str) -> str | None:
    """What keeps a token from being asked for at ``url``; None: nothing does. Plain http stays on this machine."""
    host = _host(url)
    fault = url_fault(url, query=True, plain=is_metadata_service(host))
    if fault is None and (is_metadata_service(host) or is_link_local(host)) and (host, urlsplit(url).path) != _AZURE:
        # IMDS version 1 answers a bare GET with a role's secret key, which would be sent to Google as the token.
        return (
            f"is a metadata service's, of which only a machine's token of Azure is taken: use http://{''.join(_AZURE)}, or, "
            "on AWS, subject_token.aws"
        )
    return fault


def headers_fault(names: Collection[str]) -> str | None:
    """What is wrong with the ``names`` of the headers to ask with, as a text that follows their field's name."""
    for name in names:
        if not _NAME.fullmatch(name):
            return "has a name that is none of a header (not shown): letters, digits and '-'"
        if name.lower() in _TRANSPORTS:
            return f"has {name!r}, which is not the profile's to say: leave it out"
    if len({name.lower() for name in names}) < len(names):
        return "has one name twice, in upper and lower case: leave one of them out"
    return None


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
    ``MalformedResponse``; for a secret among ``stated.headers`` what resolving it raises, and ``ConfigurationError`` where
    it is no header's value.
    """
    url = stated.url or ""
    host = _host(url)
    request = _request(url, stated.headers, _resolved(stated.headers, context))
    if isinstance(request, CredbrokerError):
        raise request
    response = context.send(request)
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


def _resolved(headers: Mapping[str, str | SecretReference], context: Context) -> dict[str, SecretStr]:
    """The values that are secrets, wrapped until all are there: an error of the next one keeps this frame's variables."""
    return {name: context.secrets.resolve(value) for name, value in headers.items() if not isinstance(value, str)}


def _request(
    url: str, headers: Mapping[str, str | SecretReference], secrets: Mapping[str, SecretStr]
) -> HttpRequest | ConfigurationError:
    # An error is returned: raised here, its traceback would keep the values in this frame's variables.
    values: dict[str, str] = {}
    for name, stated in headers.items():
        value = stated if isinstance(stated, str) else secrets[name].get_secret_value()
        if not isinstance(stated, str) and not _VALUE.fullmatch(value):
            return ConfigurationError(
                f"the secret {str(stated)!r} of credentials.subject_token.headers is no header's value, and nothing was "
                "sent: it must be visible ASCII on one line, without blanks around it"
            )
        values[name] = value
    return HttpRequest("GET", url, values, link_local=is_metadata_service(_host(url)))


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
    if is_transient(status):
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
