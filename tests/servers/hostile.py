"""A server on loopback that answers each connection as it is told to: in pieces, slowly, falsely or not at all."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Self

Pieces = Iterator[bytes]
Script = Callable[["HostileServer"], Pieces]


class HostileServer:
    """Serves ``script``: a generator of what is written, piece by piece, after each request that arrives.

    ``requests`` holds what was received. With ``silent`` set it accepts and never reads, which also stalls a TLS handshake.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, silent: bool = False) -> None:
        self.requests: list[bytes] = []
        self.accepted = 0
        self.closing = threading.Event()
        self._script = script
        self._tls = tls
        self._silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/token"

    def pause(self, seconds: float) -> bool:
        """Wait, or end early because the test is over: then False."""
        return not self.closing.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        # Closing a listener does not wake a thread in accept(); a connection does.
        socket.create_connection(("127.0.0.1", self.port)).close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.closing.is_set():
                connection.close()
                return
            self.accepted += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if self._silent:
                self.closing.wait()
                return
            connection.settimeout(10)
            try:
                if self._tls is None:
                    self._converse(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as secure:
                        self._converse(secure)
            except OSError:  # the client went away: that is what most scripts are for
                return

    def _converse(self, connection: socket.socket) -> None:
        self._open.add(connection)
        while request := _request(connection):
            self.requests.append(request)
            closes = True
            for piece in self._script(self):
                connection.sendall(piece)
                closes = closes and b"connection: close" in piece.lower()
            if closes:
                return


def _request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ("Content-Type: application/json",)) -> bytes:
    """A whole and honest HTTP answer."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*pieces: bytes) -> Script:
    """Write these pieces, then keep the connection open."""

    def script(server: HostileServer) -> Pieces:
        yield from pieces

    return script


def trickling(head: bytes, *, every: float = 0.05) -> Script:
    """Write ``head``, then a byte now and then, for as long as anyone listens."""

    def script(server: HostileServer) -> Pieces:
        yield head
        while server.pause(every):
            yield b"x"

    return script


def hanging(head: bytes = b"") -> Script:
    """Write ``head``, then nothing more, with the connection open."""

    def script(server: HostileServer) -> Pieces:
        yield head
        server.closing.wait()

    return script


def pouring(head: bytes, size: int) -> Script:
    """Write ``head``, then ``size`` bytes as fast as they are taken."""

    def script(server: HostileServer) -> Pieces:
        yield head
        for _ in range(size // 65536):
            yield bytes(65536)

    return script
