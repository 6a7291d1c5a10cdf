"""The app without a server: one request in, one answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers.sidecars import LAKE, POLARIS, Reply, keys

from credbroker import Broker
from credbroker.context import Context
from credbroker.sidecar.app import App
from credbroker.sidecar.bindings import Binding, bindings_of
from credbroker.sidecar.guard import Guard, Rate, Readers
from credbroker.sidecar.pages import State, pages_of
from credbroker.sidecar.refusals import Refusals
from credbroker.system.peer import Peer
from credbroker.testing import ControlledProvider, ManualClock

OWN = 1000
BY_TOKEN = Peer(OWN, None, unix=False)
BY_SOCKET = Peer(OWN, 7, unix=True)


@dataclass
class World:
    """An app, its issuer and its clock, all moved by hand."""

    app: App
    broker: Broker
    provider: ControlledProvider
    clock: ManualClock
    bindings: Mapping[str, Binding]
    state: State

    def get(self, path: str, headers: Mapping[str, str] | None = None, peer: Peer = BY_SOCKET) -> Reply:
        return ask(self.app, "GET", path, {"Host": "localhost", **(headers or {})}, peer=peer)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None, peer: Peer = BY_SOCKET) -> Reply:
        given = {
            "Host": "localhost",
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        return ask(self.app, "POST", path, given, body, peer=peer)


def accepts(name: str, presented: str) -> bool:
    return presented == f"token-of-{name}"


@contextmanager
def world(
    bindings: Mapping[str, Any], *, readers: tuple[int, ...] = (), rate: int = 1000, life: Any = None, **config: Any
) -> Iterator[World]:
    clock = ManualClock()
    answer = keys if life is None else lambda number, request, context: keys(number, request, context, life=life)
    provider = ControlledProvider(answer=answer)
    platform = {
        "environment": "test",
        "storage": {"lake": LAKE},
        "catalogs": {"polaris": POLARIS},
        **config,
        "sidecar": {"bindings": bindings},
    }
    modes = ("iam_role", "oauth2", "service_account", "static", "catalog")
    with Broker.from_config(platform, providers=dict.fromkeys(modes, provider), context=Context(clock=clock)) as broker:
        assert broker.sidecar is not None
        made = bindings_of(broker, broker.sidecar.bindings, {})
        refusals = Refusals(clock.elapsed)
        state = State(clock.now(), bindings=made, refused=refusals.counts)
        app = App(Guard(Readers(OWN, readers), accepts), Rate(rate, clock.elapsed), pages_of(state), refusals)
        app.serve(made)
        yield World(app, broker, provider, clock, made, state)


def ask(
    app: App, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, peer: Peer, version: str = "1.1"
) -> Reply:
    """What the app answers to one request."""
    target, _, query = path.partition("?")
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "http_version": version,
        "method": method,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "state": {"peer": peer},
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, content = sent
    return Reply(
        start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, bytes(content["body"])
    )
