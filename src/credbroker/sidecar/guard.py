"""Guard: who may ask. It knows the request and the peer, and nothing of what is asked for.

Each rule names what it stops. The order matters: what is said about a request before its caller is known is the same for
everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from credbroker.sidecar.protocol import Confined, Refusal
from credbroker.system.peer import Peer

LARGEST_BODY = 16 * 1024
"""Bytes of a POST's form: a client id, a token and a scope."""
LONGEST_TARGET = 4 * 1024
LARGEST_HEADERS = 16 * 1024
"""Bytes of all headers."""

# Set by every proxy that forwards for somebody else, and by no SDK that asks for itself.
_FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-real-ip", b"via")
_ONCE = frozenset(
    {
        *(b"host", b"authorization", b"content-length", b"transfer-encoding", b"content-type"),
        *(b"x-identity-header", b"metadata", b"metadata-flavor"),
    }
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Accepts(Protocol):
    """Whether a token opens what has that name."""

    def __call__(self, name: str, presented: str) -> bool: ...


@dataclass(frozen=True, slots=True, repr=False)
class Head(Confined):
    """A request without its body. ``headers`` are by lower-case name."""

    method: str
    version: str
    target: bytes
    headers: Mapping[bytes, bytes]
    repeated: bool
    """Whether a header that counts is given twice."""
    size: int
    """Bytes of all headers."""


def head_of(method: str, version: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head, as a server has parsed it."""
    known: dict[bytes, bytes] = {}
    repeated, size = False, 0
    for name, value in headers:
        repeated = repeated or (name in known and name in _ONCE)
        size += len(name) + len(value)
        known[name] = value
    return Head(method, version, target, known, repeated, size)


def malformed(head: Head) -> Refusal | None:
    """Refuse what no client of ours sends, whoever asks."""
    for rule in _RULES:
        refusal = rule(head)
        if refusal is not None:
            return refusal
    return None


def _smuggled(head: Head) -> Refusal | None:
    """Two readers of one request would each take another header, or see its end elsewhere (RFC 9112 section 11.2)."""
    if head.repeated:
        return _bad("a header is given twice")
    if b"transfer-encoding" in head.headers:
        return _bad(
            "a body comes with its Content-Length"
        )  # beside one it is an attack (section 6.1), alone nobody needs it
    if head.method != "POST" and head.headers.get(b"content-length", b"0") != b"0":
        return _bad("only a POST has a body")
    return None


def _too_large(head: Head) -> Refusal | None:
    if head.size > LARGEST_HEADERS:
        return Refusal(431, "HeadersTooLarge", "the headers are too large")
    if len(head.target) > LONGEST_TARGET:
        return Refusal(414, "UriTooLong", "the request's target is too long")
    return None


def _another_protocol(head: Head) -> Refusal | None:
    if head.version != "1.1" or b"upgrade" in head.headers:
        return _bad("HTTP/1.1 is spoken here, and nothing else")
    return None


def _rebound(head: Head) -> Refusal | None:
    """DNS rebinding: a page's own host name that suddenly resolves to 127.0.0.1."""
    if _names_loopback(head.headers.get(b"host", b"")):
        return None
    return Refusal(403, "ForbiddenHost", "the Host header must be a loopback name: 127.0.0.1, localhost or [::1]")


def _from_a_page(head: Head) -> Refusal | None:
    """A page: its browser says Sec-Fetch-Site, which no script can leave out. Node's own fetch says Sec-Fetch-Mode only."""
    if b"origin" in head.headers or b"sec-fetch-site" in head.headers:
        return Refusal(403, "ForbiddenOrigin", "no web page may ask here")
    return None


def _forwarded(head: Head) -> Refusal | None:
    """SSRF by way of a reverse proxy, as AWS's own metadata service refuses it."""
    if any(name in head.headers for name in _FORWARDED):
        return Refusal(403, "ForbiddenProxy", "a forwarded request is not answered")
    return None


_RULES = (_smuggled, _too_large, _another_protocol, _rebound, _from_a_page, _forwarded)


def oversize(length: str | None) -> Refusal | None:
    """Refuse a body by the length that it states, before a byte of it is read."""
    if length is None or not length.isdigit() or len(length) > 9 or int(length) > LARGEST_BODY:
        return Refusal(413, "ContentTooLarge", f"a body has at most {LARGEST_BODY} bytes, and says how many")
    return None


def _names_loopback(host: bytes) -> bool:
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        return False
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, port = text, "0"
    return name in _LOOPBACK and port.isdigit() and len(port) <= 5


def _bad(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


@dataclass(frozen=True, slots=True)
class Readers:
    """Which users may ask: the sidecar's own, and those that the configuration declares."""

    own: int
    declared: tuple[int, ...] = ()

    def include(self, uid: int | None) -> bool:
        return uid is not None and (uid == self.own or uid in self.declared)


class Guard:
    """Decides on each request, for one configuration."""

    def __init__(self, readers: Readers, accepts: Accepts) -> None:
        self._readers = readers
        self._accepts = accepts

    def knows(self, peer: Peer) -> bool:
        """Whether it is a reader, by its user."""
        return self._readers.include(peer.uid)

    def peer_refused(self, peer: Peer, *, by_token: bool) -> Refusal | None:
        """Refuse a peer by its uid, as the kernel tells it.

        On the Unix socket, and where the protocol has no place for a token, it decides alone. With a token it is a second
        wall, where the readers are declared: a token that leaked opens nothing for another user.
        """
        if by_token and not peer.unix and not self._readers.declared:
            return None
        if self._readers.include(peer.uid):
            return None
        return Refusal(403, "ForbiddenPeer", "this user may not ask: declare its uid in sidecar.readers.uids")

    def token_refused(self, peer: Peer, name: str, presented: str | None) -> Refusal | None:
        """Refuse a caller without the token of that name. On the Unix socket the peer's uid stands for it."""
        if peer.unix:
            return None
        if presented is None:
            return Refusal(401, "Unauthorized", "a token is needed: send the content of the token file")
        if not self._accepts(name, presented):
            return Refusal(401, "Unauthorized", "the token is not that of this binding: read its file again")
        return None


class Rate:
    """A bucket of requests for each peer, refilled all the time. What is refused costs nothing of it.

    Sharing one bucket, a runaway reader would starve all others.
    """

    def __init__(self, per_second: int, elapsed: Callable[[], float]) -> None:
        self._per_second = per_second
        self._elapsed = elapsed
        self._buckets: dict[tuple[bool, int | None], tuple[float, float]] = {}

    def exceeded(self, peer: Peer) -> bool:
        key, now = (peer.unix, peer.uid), self._elapsed()
        left, at = self._buckets.get(key, (float(self._per_second), now))
        left = min(float(self._per_second), left + (now - at) * self._per_second)
        if left < 1.0:
            self._buckets[key] = (left, now)
            return True
        self._buckets[key] = (left - 1.0, now)
        return False
