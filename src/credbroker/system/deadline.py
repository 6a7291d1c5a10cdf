"""Sockets and connections that end with the exchange they serve, however slowly the other side feeds them.

A socket's own timeout bounds one read, so a server that sends a byte now and then holds its client for ever, in the
body, in the headers, or in a proxy's answer. Here every read and write first sets that timeout to what is left of the whole
exchange. A TLS handshake is one call, which the timeout bounds as a whole. No thread watches, so nothing outlives the call.

A name look-up cannot be ended by anybody; the flight that waits for it ends without it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from credbroker.context import Connection
from credbroker.system.clock import elapsed

# Idle seconds after which a connection is not used again. Servers close idle ones, gunicorn after as little as 2 s, and a
# request that meets the closing is lost; gateways forget them without a word. Reuse is for a burst of issues only.
_LONGEST_IDLE = 1.5


class Exchange:
    """One request and its answer: until when, and what is told of it."""

    __slots__ = ("_end", "_now", "_on_connection", "_peer", "sent")

    def __init__(
        self,
        peer: tuple[str, int],
        timeout: float,
        now: Callable[[], datetime],
        on_connection: Callable[[Connection], None] | None,
    ) -> None:
        self._end = elapsed() + timeout
        self._peer = peer
        self._now = now
        self._on_connection = on_connection
        self.sent = now()

    def remaining(self) -> float:
        """Seconds left, above zero. Raises ``TimeoutError``."""
        left = self._end - elapsed()
        if left <= 0:
            raise TimeoutError("the exchange's deadline has passed")
        return left

    def connected(self, address: str | None, tls: str | None) -> None:
        """A connection stands, and the request is sent next."""
        if self._on_connection is not None:
            host, port = self._peer
            self._on_connection(Connection(host, port, address, tls))
        self.sent = self._now()


current: ContextVar[Exchange] = ContextVar("credbroker_exchange")
"""The exchange that this thread is in: a pooled connection serves one after another."""


class BoundedSocket(socket.socket):
    """A socket whose every read and write ends with the exchange."""

    def recv(self, *args: Any) -> bytes:
        self.settimeout(current.get().remaining())
        return super().recv(*args)

    def recv_into(self, *args: Any) -> int:
        self.settimeout(current.get().remaining())
        return super().recv_into(*args)

    def send(self, *args: Any) -> int:
        self.settimeout(current.get().remaining())
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self.settimeout(current.get().remaining())
        super().sendall(*args)


class BoundedTlsSocket(BoundedSocket, ssl.SSLSocket):
    """The same over TLS: set it as an ``SSLContext``'s ``sslsocket_class``."""

    def sendall(self, *args: Any) -> None:
        try:
            super().sendall(*args)
        except (ssl.SSLEOFError, ConnectionResetError):
            # With TLS 1.3 a server may refuse a client's certificate when for the client the handshake is over, and be gone
            # before the request: its alert, which says why, is still there to be read (RFC 8446 section 4.4.2.4).
            with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
                self.recv(1)
            raise


class BoundedHttpConnection(HTTPConnection):
    """A connection whose sockets are bounded, and which reports each request that it is about to send."""

    _used = 0.0
    _address: str | None = None

    def _new_conn(self) -> socket.socket:
        exchange = current.get()
        failure: OSError = OSError("the name has no address")
        found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            sock = BoundedSocket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # An address that swallows packets (IPv6 without a route) leaves their share of the time to the others.
                sock.settimeout(exchange.remaining() / (len(found) - tried))
                sock.connect(address)
                sock.settimeout(exchange.remaining())  # also bounds the TLS handshake
            except OSError as error:
                sock.close()
                failure = error
            else:
                self._address = str(sock.getpeername()[0])
                return sock
        raise failure

    @property
    def is_connected(self) -> bool:
        """Whether a pooled connection may serve another request."""
        return elapsed() - self._used < _LONGEST_IDLE and super().is_connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request, connecting first where that is still to be done."""
        if self.sock is None:
            self.connect()
        version = getattr(self.sock, "version", None)
        current.get().connected(self._address, version() if version is not None else None)
        self._used = elapsed()
        super().request(*args, **kwargs)


class BoundedHttpsConnection(BoundedHttpConnection, HTTPSConnection):
    """The same over TLS."""
