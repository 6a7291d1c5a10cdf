"""The server: uvicorn on sockets that are open already, in a thread of its own, with a deadline on every request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from credbroker.errors import ConfigurationError
from credbroker.sidecar.app import App
from credbroker.sidecar.guard import LARGEST_HEADERS, LONGEST_TARGET
from credbroker.system.peer import Peer, peer_of
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    import socket  # noqa: TID251 - for the type alone: they are opened in credbroker.system

SLOWEST_REQUEST = 5.0
"""Seconds from the first byte to the last one, headers and body: on loopback, what is slower is an attack (slowloris)."""
LONGEST_IDLE = 75
"""Seconds that a connection is kept open for its next request."""
LONGEST_DRAIN = 10
"""Seconds that requests under way have left once the sidecar is told to end."""
MOST_CONNECTIONS = 1024
MOST_OF_ONE_USER = 512
"""Connections: one user who opens more and says nothing would leave none to the others."""


class _Connection(H11Protocol):
    """A connection that knows who is at its other end, and that no slow client keeps."""

    peer: Peer | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = peer_of(transport.get_extra_info("socket"))
        self.app_state = {"peer": self.peer}
        if sum(isinstance(one, _Connection) and one.peer == self.peer for one in self.connections) > MOST_OF_ONE_USER:
            transport.abort()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._arm()
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _settle(self) -> None:
        """A deadline while a request is being read. How long its answer takes is the issuer's deadline to bound."""
        theirs = self.conn.their_state
        reading = theirs is h11.SEND_BODY or (theirs is h11.IDLE and bool(self.conn.trailing_data[0]))
        if not reading:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(SLOWEST_REQUEST, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server:
    """Serves one app until it is told to end."""

    def __init__(self, app: App, sockets: Sequence[socket.socket]) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,  # a line a request, with its path, is nobody's need: metrics count them
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=LONGEST_IDLE,
            timeout_graceful_shutdown=LONGEST_DRAIN,
            h11_max_incomplete_event_size=LARGEST_HEADERS + LONGEST_TARGET,  # of what has not arrived as a whole
        )
        self._server = uvicorn.Server(config)
        self._sockets = list(sockets)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="credbroker-sidecar", daemon=True)
        _servers.add(self)

    def start(self) -> None:
        """Return once requests are answered. Raises ``ConfigurationError`` where the server cannot start."""
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
            if not self._thread.is_alive():
                raise ConfigurationError(f"the server did not start ({type(self._failure).__name__})")

    def stop(self) -> None:
        """Take no more requests, finish those under way, and return."""
        self._server.should_exit = True
        self._thread.join(LONGEST_DRAIN + 2)

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        # Not in the main thread uvicorn leaves the signals alone: they are the command's.
        try:
            asyncio.run(self._server.serve(sockets=self._sockets))
        except BaseException as error:  # noqa: BLE001 - told to who waits in start()
            self._failure = error

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited. The parent serves on; nobody runs the loop here."""
        for sock in self._sockets:
            sock.close()
        for connection in list(self._server.server_state.connections):
            transport = connection.transport
            if transport is not None:
                with contextlib.suppress(OSError):
                    os.close(transport.get_extra_info("socket").fileno())


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _abandon_all() -> None:
    for server in list(_servers):
        server.abandon()


# A child that kept them open would hold the port when the parent has ended, and answer nobody.
in_forked_child(_abandon_all)
