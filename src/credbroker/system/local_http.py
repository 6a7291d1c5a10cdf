"""One request to a server on this machine, by a Unix socket or loopback TCP, in a process that has no time to lose.

``credbroker aws-process`` is started anew for each credential, and ``http.client`` alone, with ``email`` and ``ssl``, would
take a third of its time to load. Nothing is read from the environment, so no proxy is used; no redirect is followed.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from credbroker.system.clock import elapsed

_LARGEST_HEAD = 16 * 1024
_CHUNK = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What came back, whatever its status. Its repr does not show the body."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LocalFault:
    """Why nothing came back, in our own words: theirs may show the answer."""

    reason: str
    connected: bool
    """Whether a connection stood, so that the request may have been read."""
    errno: int | None = None
    """Of the operating system's error, where that was the reason."""


_CLOSED = LocalFault("the connection was closed before the answer was complete", connected=True)


def get(
    address: str | tuple[str, int], path: str, headers: Mapping[str, str], *, timeout: float, largest: int
) -> LocalAnswer | LocalFault:
    """``GET path`` of the Unix socket with that path, or of that IP address and port.

    All of it ends within ``timeout`` seconds, however slowly the server feeds it, and with a body of more than ``largest``
    bytes. A fault is returned, not raised: an error from in here would keep the frames that hold ``headers`` and the answer.
    The body is delimited by ``Content-Length``, or else by the connection's end (RFC 9112 section 6.3); no other transfer
    coding is understood.
    """
    end = elapsed() + timeout
    connected = False
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode("ascii")
    try:
        with _socket(address) as connection:
            connection.settimeout(_left(end))
            connection.connect(address)
            connected = True
            connection.settimeout(_left(end))
            connection.sendall(request)
            return _received(connection, end, largest)
    except TimeoutError:
        return LocalFault(f"no complete answer within {timeout:.3g} s", connected)
    except OSError as error:
        return LocalFault((error.strerror or str(error)).lower(), connected, error.errno)


def _socket(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, str):
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    return socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)


def _left(end: float) -> float:
    left = end - elapsed()
    if left <= 0:
        raise TimeoutError
    return left


def _received(connection: socket.socket, end: float, largest: int) -> LocalAnswer | LocalFault:
    raw = bytearray()
    while (stop := raw.find(b"\r\n\r\n")) < 0:
        if len(raw) > _LARGEST_HEAD:
            return LocalFault("the head of the answer is larger than 16 KiB", connected=True)
        if not _more(connection, raw, end):
            return _CLOSED
    head = _parsed(bytes(raw[:stop]))
    if head is None:
        return LocalFault("what answers there does not speak HTTP as a sidecar does", connected=True)
    status, length = head
    body = _body(connection, raw[stop + 4 :], length, end, largest)
    return body if isinstance(body, LocalFault) else LocalAnswer(status, body)


def _body(connection: socket.socket, raw: bytearray, length: int | None, end: float, largest: int) -> bytes | LocalFault:
    too_large = LocalFault(f"the answer is larger than {largest // 1024} KiB", connected=True)
    if length is None:
        while len(raw) <= largest and _more(connection, raw, end):
            pass
        return bytes(raw) if len(raw) <= largest else too_large
    if length > largest:
        return too_large
    while len(raw) < length:
        if not _more(connection, raw, end):
            return _CLOSED
    return bytes(raw[:length])


def _more(connection: socket.socket, raw: bytearray, end: float) -> bool:
    """Append what is there; False at the connection's end."""
    connection.settimeout(_left(end))
    chunk = connection.recv(_CHUNK)
    raw += chunk
    return bool(chunk)


def _parsed(head: bytes) -> tuple[int, int | None] | None:
    """The status, and the body's length where it is stated."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    headers = [_HEADER.fullmatch(line) for line in lines]
    if status is None:
        return None
    lengths: set[bytes] = set()
    for header in headers:
        if header is None or header[1].lower() == b"transfer-encoding":
            return None
        if header[1].lower() == b"content-length":
            lengths.add(header[2])
    if not lengths:
        return int(status[1]), None
    (length,) = lengths if len(lengths) == 1 else (b"",)
    return (int(status[1]), int(length)) if _LENGTH.fullmatch(length) else None
