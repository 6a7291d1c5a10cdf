"""The way of a request to the catalog: the broker's token or signature on each, one recovery, one origin, no redirect."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from requests import PreparedRequest, RequestException, Response, Session  # noqa: TID251 - PyIceberg speaks through it
from requests.adapters import HTTPAdapter  # noqa: TID251

from credbroker.config.settings import NetworkSettings
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.integrations.reach import check_host, proxy_for
from credbroker.providers._signed_catalog import Signing, refuses_keys
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

    def __init__(self, source: CredentialSource[Any], profile: str) -> None:
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
        response, held = self._send_once(request, options)
        if self._refuses(response) and self._source.invalidate(held):
            response.close()
            response, _ = self._send_once(request, options)
        if response.is_redirect:
            response.close()
            raise MalformedResponse(f"the catalog answered with a redirect ({response.status_code})", profile=self._profile)
        return response

    def _send_once(self, request: PreparedRequest, options: dict[str, Any]) -> tuple[Response, Any]:
        held = self._source.get()
        shown = request.copy()
        self._show(held, shown)
        try:
            response = super().send(shown, **options)
        except RequestException as error:
            error.request = request
            raise
        # What is kept of a request, by the response and by every error made of it, is the one without the token.
        response.request = request
        return response, held

    def _show(self, held: object, request: PreparedRequest) -> None:
        """Put into a request's headers who sends it."""
        if not isinstance(held, AccessToken):
            raise ConfigurationError(f"its credentials are {type(held).__name__}, not a token", profile=self._profile)
        request.headers["Authorization"] = held.authorization_header()

    def _refuses(self, response: Response) -> bool:
        """Whether the answer says that it is not known who sent the request."""
        return response.status_code in _TOKEN_REFUSED


class SignedTransport(CatalogTransport):
    """The same with keys: each request is signed (SigV4) by those that the source holds at that moment."""

    def __init__(self, source: CredentialSource[Any], profile: str, signing: Signing) -> None:
        self._signing = signing
        super().__init__(source, profile)

    def _show(self, held: object, request: PreparedRequest) -> None:
        from credbroker.identity.aws_signature import canonical, signature

        if not isinstance(held, S3Credentials):
            raise ConfigurationError(f"its credentials are {type(held).__name__}, not keys", profile=self._profile)
        body = request.body or b""
        request.url = canonical(str(request.url))
        request.headers.update(
            signature(
                str(request.method),
                request.url,
                request.headers,
                body.encode() if isinstance(body, str) else body,
                held,
                service=self._signing.name,
                region=self._signing.region,
            )
        )

    def _refuses(self, response: Response) -> bool:
        if super()._refuses(response):
            return True
        # The body of any other answer may be long, and is not read here.
        return response.status_code in (400, 403) and refuses_keys(response.status_code, response.headers, response.content)


def session(
    uri: str, source: CredentialSource[Any], profile: str, network: NetworkSettings, signing: Signing | None = None
) -> Session:
    """A session that reaches the catalog's origin and nothing else, by ``network`` and not by the environment.

    ``source`` gives a token, or with ``signing`` the keys that sign each request.

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
    transport = CatalogTransport(source, profile) if signing is None else SignedTransport(source, profile, signing)
    made.mount(f"{parts.scheme}://{parts.netloc}/", cast("Any", transport))
    return made
