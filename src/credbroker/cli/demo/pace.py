"""A loopback proxy in front of the store's S3 port: it slows the reading of data files, and keeps the books.

It passes everything through unchanged, the ``Host`` header too, which a SigV4 signature covers. What it counts is what the
store answered, so nobody's own account of itself is believed.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit

from credbroker.cli.demo.tally import Passage, Tally

_KEY_ID = re.compile(r"Credential=([^/,\s]+)/")
_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_BLOCK = 64 * 1024
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"})
_UPSTREAM_TIMEOUT = 60.0
_WIND_DOWN = 5.0


class PacingProxy:
    """A context manager: serves on a free loopback port (``url``) from its making to the end of the block.

    ``delay`` is the time in seconds by which each GET of an object below a ``data/`` folder is held back before the store
    sees it. Requests that come before ``forward_to`` get 503.
    """

    def __init__(self, *, delay: float = 0.0) -> None:
        self.delay = delay
        self._upstream: str | None = None
        self._lock = threading.Condition()
        self._under_way = 0
        self._tallies: list[Tally] = []
        self._seen: set[str] = set()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="pacing-proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def upstream(self) -> str | None:
        """``host:port`` of the store, None before ``forward_to``."""
        return self._upstream

    def forward_to(self, endpoint: str) -> None:
        """Send everything on to the store at ``endpoint``, an ``http://host:port``."""
        self._upstream = urlsplit(endpoint).netloc

    @contextmanager
    def watch(self, on_passage: Callable[[Passage], None] | None = None) -> Iterator[Tally]:
        """Count what passes during the block, and what is under way at its end.

        One at a time: what comes is taken for that of whoever watches. Requests with keys that were seen before the block
        are not counted, so that the last ones of an earlier run are not laid at this one's door. ``on_passage`` is called
        for each that counts, on a thread of the proxy.
        """
        with self._lock:
            tally = Tally(ignore=frozenset(self._seen), on_passage=on_passage)
            self._tallies.append(tally)
        try:
            yield tally
        finally:
            with self._lock:
                self._lock.wait_for(lambda: self._under_way == 0, timeout=_WIND_DOWN)
                self._tallies.remove(tally)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around one request, from its coming to its entry in the books."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._lock.notify_all()

    def note(self, passage: Passage) -> None:
        """Enter one answered request into the books."""
        with self._lock:
            self._seen.add(passage.key_id)
            tallies = list(self._tallies)
        for tally in tallies:
            tally.note(passage)

    def close(self) -> None:
        """Stop serving. Connections that stand are dropped."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: PacingProxy) -> None:
        self.proxy = proxy
        self._open: set[socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        with self._open_lock:
            self._open.add(cast("socket", request))  # as a TCP server's request is
        super().process_request(request, cast("Any", client_address))

    def shutdown_request(self, request: socket | tuple[bytes, socket]) -> None:
        with self._open_lock:
            self._open.discard(cast("socket", request))
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._open_lock:
            held = list(self._open)
        for connection in held:
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to print a traceback for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _connection: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Print nothing."""

    def finish(self) -> None:
        if self._connection is not None:
            self._connection.close()
        super().finish()

    def _pass_on(self) -> None:
        with self.server.proxy.passing():
            answered = self._asked()
        if answered is None:
            self._refuse()
        else:
            self._answer(*answered)

    def _asked(self) -> tuple[http.client.HTTPResponse, bytes | None] | None:
        """The store's answer, entered in the books, and its body where it is a refusal; None where there is no answer."""
        proxy = self.server.proxy
        path = unquote(urlsplit(self.path).path)
        key_id = self._key_id()
        is_data = self.command in {"GET", "HEAD"} and "/data/" in path
        started = time.monotonic()
        if is_data and self.command == "GET" and proxy.delay:
            time.sleep(proxy.delay)
        try:
            answer = self._send(proxy.upstream)
        except (OSError, http.client.HTTPException):
            return None
        if answer is None:
            return None
        refusal = answer.read() if answer.status >= http.client.BAD_REQUEST else None
        code = _CODE.search(refusal) if refusal else None
        # Before the client has its answer: whoever acts on it finds it in the books.
        proxy.note(Passage(started, self.command, path, key_id, answer.status, code[1].decode() if code else None, is_data))
        return answer, refusal

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of the base class's protocol

    def _key_id(self) -> str:
        """Who asks: the access key id of a SigV4 header or presigned query; empty where there is none."""
        named = _KEY_ID.search(self.headers.get("Authorization", "") or unquote(self.path))
        return named[1] if named else ""

    def _send(self, upstream: str | None) -> http.client.HTTPResponse | None:
        if upstream is None:
            return None
        body = self._body()
        for last in (False, True):
            fresh = self._connection is None
            if self._connection is None:
                self._connection = http.client.HTTPConnection(upstream, timeout=_UPSTREAM_TIMEOUT)
            try:
                return self._exchange(self._connection, body)
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._connection = None
                if fresh or last:
                    raise
                # The store closed a connection that had idled; it has not read this request.
        raise AssertionError  # the loop returns or raises

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes | None) -> http.client.HTTPResponse:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP and name.lower() not in {"content-length", "expect"}:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def _body(self) -> bytes | None:
        """The request's body as it is signed, without the transfer coding. The files of a demonstration are small."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers of the transfer coding
            return b"".join(parts)
        length = self.headers.get("Content-Length")
        return None if length is None else self.rfile.read(int(length))

    def _answer(self, answer: http.client.HTTPResponse, refusal: bytes | None) -> None:
        length = answer.getheader("Content-Length")
        bodiless = self.command == "HEAD" or answer.status in {http.client.NO_CONTENT, http.client.NOT_MODIFIED}
        whole = refusal
        if whole is None and length is None and not bodiless:
            whole = answer.read()
        if whole is not None and not bodiless:
            length = str(len(whole))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length":
                self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        if bodiless:
            answer.read()
        elif whole is not None:
            self.wfile.write(whole)
        else:
            while block := answer.read(_BLOCK):
                self.wfile.write(block)

    def _refuse(self) -> None:
        self.close_connection = True
        self.send_response_only(http.client.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
