"""The app: one request in, one answer out, as a bare ASGI callable. Who may ask is the guard's to say."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from credbroker.credentials import Credential
from credbroker.errors import AccessDenied, CredbrokerError, IssueDenied
from credbroker.sidecar import guard
from credbroker.sidecar.authorization import bearer
from credbroker.sidecar.bindings import Binding
from credbroker.sidecar.directory import STATUS
from credbroker.sidecar.guard import Guard, Rate
from credbroker.sidecar.protocol import Answer, Ask, Protocol, Refusal, Route
from credbroker.sidecar.protocols import PROTOCOLS
from credbroker.sidecar.refusals import Refusals
from credbroker.system.peer import Peer

logger = logging.getLogger("credbroker.sidecar")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 32
_TWICE = Refusal(400, "BadRequest", "a parameter is given twice, or cannot be read")
_NOWHERE = Peer(uid=None, pid=None, unix=False)


@dataclass(frozen=True, slots=True)
class _Served:
    """A route of one binding."""

    binding: Binding
    protocol: Protocol
    route: Route


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the sidecar itself: what it tells, and whether that takes the status token."""

    tell: Callable[[], Answer]
    by_token: bool


class App:
    """Serves a set of bindings. ``serve`` swaps the set as a whole: a request sees the one before or the one after."""

    def __init__(self, guard_: Guard, rate: Rate, pages: Mapping[str, Page], refusals: Refusals) -> None:
        self._guard = guard_
        self._rate = rate
        self._pages = pages
        self._refusals = refusals
        self._routes: dict[str, dict[str, _Served]] = {}

    def knows(self, peer: Peer) -> bool:
        """Whether it is a reader, by its user."""
        return self._guard.knows(peer)

    def limit(self, guard_: Guard, rate: Rate) -> None:
        """Go by other readers and another rate from now on."""
        self._guard, self._rate = guard_, rate

    def serve(self, bindings: Mapping[str, Binding]) -> None:
        """Answer for these bindings from now on, and for no other."""
        routes: dict[str, dict[str, _Served]] = {}
        for binding in bindings.values():
            for name in binding.settings.protocols:
                protocol = PROTOCOLS[name]
                prefix = "" if protocol.rooted else f"/{binding.name}/{protocol.name}"
                for route in protocol.routes:
                    routes.setdefault(prefix + route.path, {})[route.method] = _Served(binding, protocol, route)
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except Exception as error:  # noqa: BLE001 - the server would log a traceback, and a foreign text may hold anything
            logger.error("an answer failed with %s", type(error).__name__)  # noqa: TRY400 - no traceback, for the same reason
            answer = told(Refusal(500, "InternalError", "the sidecar failed"))
        await _send(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        target = scope["raw_path"]
        head = guard.head_of(scope["method"], scope["http_version"], target + scope["query_string"], scope["headers"])
        peer: Peer = scope.get("state", {}).get("peer", _NOWHERE)
        # The path as it was sent: what has to be decoded, or normalised, to be one of ours, is none of ours.
        path = target.decode("ascii", "replace")
        page, served = self._pages.get(path), self._routes.get(path, {})
        refusal = guard.malformed(head) or _unserved(head.method, page, served)
        if refusal is None and self._rate.exceeded(peer):
            refusal = Refusal(429, "TooManyRequests", "slow down", retry_after=1)
        if refusal is not None:
            return self._refused(refusal)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers.items()}
        if page is not None:
            return self._page(page, peer, headers)
        return await self._bound(served[head.method], peer, headers, scope, receive)

    def _page(self, page: Page, peer: Peer, headers: Mapping[str, str]) -> Answer:
        if page.by_token:
            refusal = self._admitted(peer, STATUS, bearer(headers, {}), by_token=True)
            if refusal is not None:
                return self._refused(refusal)
        return page.tell()

    async def _bound(
        self, served: _Served, peer: Peer, headers: Mapping[str, str], scope: Scope, receive: Receive
    ) -> Answer:
        binding, route = served.binding, served.route
        query = _fields(scope["query_string"].decode("ascii", "replace"))
        form = await _form(headers, receive) if route.method == "POST" else {}
        if isinstance(form, Refusal) or isinstance(query, Refusal):
            return self._no(served, form if isinstance(form, Refusal) else _TWICE)
        presented = route.token(headers, form) if route.token is not None else None
        refusal = self._admitted(peer, binding.name, presented, by_token=route.token is not None)
        if refusal is not None:
            return self._no(served, refusal)
        scope["state"].get("admit", _nobody)()
        try:
            ask = Ask(binding.name, query, headers, form, binding.now(), binding.request)
            refusal = route.check(ask)
            if refusal is not None:
                return self._no(served, refusal)
            if route.text is not None:
                return route.text(ask)
            return self._told(served, ask, await binding.value(), peer)
        except CredbrokerError as error:
            return self._no(served, _unavailable(error))

    def _told(self, served: _Served, ask: Ask, value: Credential, peer: Peer) -> Answer:
        binding, encode = served.binding, served.route.answer
        end = binding.told_end(value)
        if encode is None or (end is not None and end <= ask.now):
            return self._no(served, Refusal(503, "CredentialExpired", "nothing valid is left", retry_after=1))
        answer = encode(ask, value, end)
        if answer.status == 200:
            # Before it is sent: who got hold of a credential is on record, or does not get it.
            binding.hand_over(value, {"protocol": served.protocol.name, "peer_uid": peer.uid, "unix_socket": peer.unix})
        binding.count(served.protocol.name, answer.status)
        return answer

    def _admitted(self, peer: Peer, name: str, presented: str | None, *, by_token: bool) -> Refusal | None:
        refusal = self._guard.peer_refused(peer, by_token=by_token)
        if refusal is None and by_token:
            refusal = self._guard.token_refused(peer, name, presented)
        return refusal

    def _no(self, served: _Served, refusal: Refusal) -> Answer:
        """A refusal in the protocol's own form."""
        served.binding.count(served.protocol.name, refusal.status)
        if refusal.status != 503:
            self._refusals.note(refusal, served.binding.name)
        return served.protocol.refusal(refusal)

    def _refused(self, refusal: Refusal) -> Answer:
        self._refusals.note(refusal)
        return told(refusal)


def _nobody() -> None:
    """There is no connection that could be admitted."""


def told(refusal: Refusal) -> Answer:
    """A refusal that no protocol has a form for."""
    headers = list(refusal.headers)
    if refusal.status == 401:
        headers.append(("www-authenticate", "Bearer"))
    return Answer(refusal.status, as_json({"code": refusal.code, "message": refusal.message}), headers=tuple(headers))


def _unserved(method: str, page: Page | None, served: Mapping[str, _Served]) -> Refusal | None:
    if page is None and not served:
        return Refusal(404, "NotFound", "nothing is served at this path")
    allowed = ("GET",) if page is not None else tuple(served)
    return None if method in allowed else Refusal(405, "MethodNotAllowed", f"this path takes {', '.join(allowed)}")


def as_json(report: object) -> bytes:
    """The shortest form."""
    return json.dumps(report, separators=(",", ":")).encode()


def _unavailable(error: CredbrokerError) -> Refusal:
    status = 403 if isinstance(error, AccessDenied | IssueDenied) else 503
    wait = int(error.retry_after.total_seconds()) + 1 if error.retry_after is not None else 1
    return Refusal(status, type(error).__name__, error.message, retry_after=wait if status == 503 else None)


def _fields(text: str) -> dict[str, str] | Refusal:
    """Parameters, each given once."""
    try:
        pairs = parse_qsl(text, True, bool(text), errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return _TWICE
    found = dict(pairs)
    return found if len(found) == len(pairs) else _TWICE


async def _form(headers: Mapping[str, str], receive: Receive) -> dict[str, str] | Refusal:
    refusal = guard.oversize(headers.get("content-length"))
    if refusal is not None:
        return refusal
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return Refusal(415, "UnsupportedMediaType", f"a body is {_FORM}")
    body, more = b"", True
    while more:  # as much as was stated: the server's parser counts
        message = await receive()
        if message["type"] != "http.request":
            return _TWICE  # the client is gone, and nobody reads this
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        return _fields(body.decode("ascii"))
    except UnicodeDecodeError:
        return _TWICE


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *((name.encode(), value.encode()) for name, value in answer.headers),
    ]
    if 400 <= answer.status < 500 or answer.last:
        # What follows may be the other half of an attack; and who is refused, or shows no token, holds no connection.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
