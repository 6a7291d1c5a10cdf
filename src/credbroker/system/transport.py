"""requests' transport, narrowed: bounded connections, our own TLS settings, nothing from the environment."""

from __future__ import annotations

import ssl
from queue import Empty, Full, LifoQueue
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from credbroker.context import ClientCertificate
from credbroker.errors import ConfigurationError
from credbroker.system.client_certificate import present
from credbroker.system.deadline import BoundedHttpConnection, BoundedHttpsConnection, BoundedTlsSocket


class Transport(HTTPAdapter):
    """Sends prepared requests through pooled connections. It stands without a Session, which brings redirects and cookies.

    ``ca_file`` is a PEM bundle to trust instead of certifi's. ``certificate`` is presented to whoever asks for it in the
    handshake, on every connection of this transport: none of them serves a request without it, or with another. Raises
    ``ConfigurationError`` where one of the two cannot be used.
    """

    def __init__(self, ca_file: str | None, certificate: ClientCertificate | None = None) -> None:
        self._tls = _tls_context(ca_file)
        # A proxy is nobody's issuer: it is never shown the certificate.
        self._proxy_tls = self._tls if certificate is None else _tls_context(ca_file)
        if certificate is not None:
            present(certificate, self._tls)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._tls, proxy_ssl_context=self._proxy_tls)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to set: the context verifies, and requests would load the bundle into it again at each request."""


class _IdleConnections(LifoQueue[Any]):
    """A pool's queue without its locks, which a single append or pop does not need.

    urllib3 empties it at exit, in a forked child too, where a thread that exists only in the parent may have held the lock.
    """

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self.queue) >= self.maxsize:
            raise Full
        self.queue.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self.queue.pop()
        except IndexError:
            raise Empty from None


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = BoundedHttpConnection
    QueueCls = _IdleConnections


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = BoundedHttpsConnection
    QueueCls = _IdleConnections


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    # Not ssl.create_default_context(): that obeys SSLKEYLOGFILE, and OpenSSL's defaults SSL_CERT_FILE and SSL_CERT_DIR.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BoundedTlsSocket
    try:
        context.load_verify_locations(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"network.ca_file {ca_file!r} is no readable PEM bundle: {why}") from None
    return context
