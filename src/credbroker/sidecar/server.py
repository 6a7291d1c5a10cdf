"""The server: uvicorn on sockets that are open already, in a thread of its own, with a deadline on every request."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from credbroker.errors import ConfigurationError
from credbroker.sidecar.app import App
from credbroker.sidecar.guard import LARGEST_HEADERS, LONGEST_TARGET
from credbroker.system.listening import close_inherited
from credbroker.system.peer import Peer, peer_of
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    import socket  # noqa: TID251 - for the type alone: they are opened in credbroker.system

logger = logging.getLogger("credbroker.sidecar")

SLOWEST_REQUEST = 5.0
"""Seconds from the first byte to the last one, headers and body: on loopback, what is slower is an attack (slowloris)."""
LONGEST_IDLE = 75
"""Seconds that a connection is kept open for its next request."""
LONGEST_DRAIN = 10
"""Seconds that requests under way have left once the sidecar is told to end."""
MOST_CONNECTIONS = 1024
MOST_OF_ONE_READER = 512
MOST_OF_ONE_STRANGER = 64
MOST_OF_STRANGERS = 512
"""Connections of those who are no declared readers, and have shown no token on them: who says nothing starves nobody."""
_SILENT = logging.Logger("credbroker.sidecar.http", logging.CRITICAL + 1)  # noqa: LOG001 - so nobody turns it on
_TOLD_EVERY = 10.0


class _Connection(H11Protocol):
    """A connection that knows who is at its other end, and that no slow client keeps."""

    peer: Peer | None = None
    admitted = False
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # uvicorn has a line for each piece of garbage: anybody on the machine could fill the log, or block who writes it.
        self.logger = _SILENT

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = peer_of(transport.get_extra_info("socket"))
        self.app_state = {"peer": self.peer, "admit": self._admit}
        if self._are_too_many(self.peer):
            transport.abort()
            return
        self._arm()

    def _are_too_many(self, peer: Peer) -> bool:
        """Whether its user, or all together who have shown nothing yet, leave too few connections to the others."""
        app = cast("App", self.app)
        others = [one for one in self.connections if isinstance(one, _Connection) and one.peer is not None]
        of_user = [one for one in others if one.peer is not None and one.peer.uid == peer.uid]
        if app.knows(peer):
            return len(of_user) > MOST_OF_ONE_READER
        strangers = [one for one in others if not one.admitted and one.peer is not None and not app.knows(one.peer)]
        of_user = [one for one in of_user if not one.admitted]
        return len(of_user) > MOST_OF_ONE_STRANGER or len(strangers) > MOST_OF_STRANGERS

    def _admit(self) -> None:
        """Its token was accepted: it is as good as a declared reader's."""
        self.admitted = True

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

    def pause_writing(self) -> None:
        """Answers pile up that nobody reads."""
        super().pause_writing()
        if self._deadline is None:
            self._arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._settle()

    def _settle(self) -> None:
        """A deadline while a request is being read, or its answer is not. How long it takes is the issuer's to bound."""
        theirs = self.conn.their_state
        reading = theirs is h11.SEND_BODY or (theirs is h11.IDLE and bool(self.conn.trailing_data[0]))
        if not reading and not self.flow.write_paused:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(SLOWEST_REQUEST, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Troubles:
    """What the loop has to say, as that no descriptor is left: once in a while, and never with what it was about."""

    def __init__(self) -> None:
        self._told_at = -math.inf

    def told(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if loop.time() - self._told_at >= _TOLD_EVERY:
            self._told_at = loop.time()
            logger.warning("the server met %s", type(context.get("exception")).__name__)


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
            with asyncio.Runner() as runner:
                runner.get_loop().set_exception_handler(_Troubles().told)
                runner.run(self._server.serve(sockets=self._sockets))
        except BaseException as error:  # noqa: BLE001 - told to who waits in start()
            self._failure = error

    def abandon(self) -> None:
        """In a forked child: let go of what was inherited. The parent serves on; nobody runs the loop here."""
        close_inherited(self._sockets)


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _abandon_all() -> None:
    for server in list(_servers):
        server.abandon()


# A child that kept them open would hold the port when the parent has ended, and answer nobody.
in_forked_child(_abandon_all)
