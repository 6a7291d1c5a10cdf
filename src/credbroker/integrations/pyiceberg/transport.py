"""The way of a request to the catalog: the broker's token on each, one recovery from a refusal, one origin, no redirect."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from requests import PreparedRequest, RequestException, Response, Session  # noqa: TID251 - PyIceberg speaks through it
from requests.adapters import HTTPAdapter  # noqa: TID251

from credbroker.config.settings import NetworkSettings
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.integrations.reach import check_host, proxy_for
from credbroker.source import CredentialSource

# 419 is Iceberg's AuthenticationTimeoutResponse (REST specification, "Authentication Timeout"); servers use either.
_TOKEN_REFUSED = frozenset({401, 419})
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10.0, 60.0
"""Seconds. There is none for the answer to a change: a commit that is given up on may yet have happened."""


class CatalogTransport(HTTPAdapter):
    """Sends to the catalog's origin with the token that its source holds at that moment.

    After 401 or 419 the refused token is invalidated and the request sent once more, if there is another token to be had;
    otherwise the refusal is the caller's. Raises ``MalformedResponse`` for a redirect: whoever answers with one would choose
    where the token goes.
    """

    def __init__(self, source: CredentialSource[AccessToken], profile: str) -> None:
        self._source = source
        self._profile = profile
        super().__init__()

    def send(  # noqa: PLR0917 - the signature is requests'
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        timeout = timeout or (_CONNECT_TIMEOUT, _READ_TIMEOUT if request.method in ("GET", "HEAD") else None)
        options = {"stream": stream, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        response, token = self._send_once(request, options)
        if response.status_code in _TOKEN_REFUSED and self._source.invalidate(token):
            response.close()
            response, _ = self._send_once(request, options)
        if response.is_redirect:
            response.close()
            raise MalformedResponse(f"the catalog answered with a redirect ({response.status_code})", profile=self._profile)
        return response

    def _send_once(self, request: PreparedRequest, options: dict[str, Any]) -> tuple[Response, AccessToken]:
        token = self._source.get()
        if not isinstance(token, AccessToken):
            raise ConfigurationError(f"its credentials are {type(token).__name__}, not a token", profile=self._profile)
        signed = request.copy()
        signed.headers["Authorization"] = token.authorization_header()
        try:
            response = super().send(signed, **options)
        except RequestException as error:
            error.request = request
            raise
        # What is kept of a request, by the response and by every error made of it, is the one without the token.
        response.request = request
        return response, token


def session(uri: str, source: CredentialSource[AccessToken], profile: str, network: NetworkSettings) -> Session:
    """A session that reaches the catalog's origin and nothing else, by ``network`` and not by the environment.

    Raises ``ConfigurationError`` for a host that ``network.allowed_hosts`` lacks.
    """
    check_host(network, uri)
    made = Session()
    made.trust_env = False
    made.verify = network.ca_file or True
    proxy = proxy_for(network, uri)
    if proxy is not None:
        made.proxies = {"http": proxy, "https": proxy}
    made.adapters.clear()
    parts = urlsplit(uri)
    made.mount(f"{parts.scheme}://{parts.netloc}/", cast("Any", CatalogTransport(source, profile)))
    return made
