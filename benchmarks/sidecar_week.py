"""A simulated week of requests to the sidecar's app, for the section ``sidecar-soak``.

Nothing goes over a socket: the ASGI app of a running sidecar is called, so that a manual clock can move between
two requests. Values live for 15 minutes and the issuer fails one call in three; a refresh is held back for some seconds of
that clock, so that requests meet it under way. The wall clock jumps, the machine sleeps, the file is reloaded: unchanged,
with a binding more, with a fault (which is refused as a whole), and with a changed profile, whose values are issued anew.
The ledger is the issuer's own: which token it gave, and when that one is over.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from benchmarks import ours
from benchmarks.served import resident, sidecar
from credbroker import AccessToken, Broker, S3Credentials
from credbroker.brokerage import Brokerage
from credbroker.config import load_files
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import ConfigurationError, IssuerUnavailable
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.request import CredentialRequest
from credbroker.testing import ManualClock, tick

if TYPE_CHECKING:
    from credbroker.sidecar.running import Sidecar

_WEEK, _LIFE = 7 * 86_400.0, 900.0
_GUARD = 15.0
"""The last seconds of a life, in which it is never handed out."""
_TAKES = 4.0
"""Seconds of the manual clock for which each refresh is held back."""
_PATIENCE = 10.0
_RELOAD_EVERY, _JUMP_EVERY, _SLEEP_EVERY = 5_000, 7_919, 2_003
"""Requests."""
_JUMP = 7_200.0
_MOST_TOKENS = 64
"""That the ledger remembers: an older one has long been over."""


class Issuer:
    """A provider that fails one call in three, answers when its gate is open, and books what it gave."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.over_at: dict[str, float] = {}
        self.calls = 0
        self.failed = 0

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant(locations=request.locations or None, access=request.access)

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        asked, wall = self._clock.elapsed(), context.clock.now()
        with self._lock:
            self.calls += 1
            number, fails = self.calls, self.calls % 3 == 0
            self.failed += fails
        self.gate.wait(_PATIENCE)
        if fails:
            raise IssuerUnavailable("connection refused", retryable=True)
        token, ends = f"token-{number}", wall + timedelta(seconds=_LIFE)
        with self._lock:
            self.over_at[token] = asked + _LIFE
            if len(self.over_at) > _MOST_TOKENS:
                del self.over_at[next(iter(self.over_at))]
        if request.kind == "catalog":
            return AccessToken(SecretStr(token), expires_at=ends)
        return S3Credentials("AKIDBENCH", SecretStr("secret"), SecretStr(token), expires_at=ends)


@dataclass(slots=True)
class Ledger:
    """What the week came to."""

    expired: int = 0
    in_guard: int = 0
    told_too_long: int = 0
    refused: int = 0
    refused_while_valid: int = 0
    under_way: int = 0
    sleeps: int = 0
    reloads: int = 0
    faulty: int = 0
    """Reloads of a file with a fault."""
    misjudged: int = 0
    """Reloads with a fault that were not refused, or refused without one."""
    resident: list[float] = field(default_factory=list)
    """In MB, after a fifth of the requests and at the end."""


@contextmanager
def running(issuer: Issuer, clock: ManualClock) -> Iterator[tuple[Sidecar, Path]]:
    from credbroker.sidecar.running import Sidecar

    with tempfile.TemporaryDirectory(prefix="credbroker-bench-", dir=sidecar.IN_MEMORY) as folder:
        file = Path(folder) / "platform.yaml"
        file.write_text(json.dumps(_platform(folder)))
        made = Brokerage(load_files([file]), {"oauth2": issuer, "iam_role": issuer}, Context(clock=clock))
        with Broker(made) as broker:
            if broker.sidecar is None:
                raise ConfigurationError("the file has no sidecar section")
            started = Sidecar(broker, broker.sidecar)
            started.start()
            try:
                yield started, file
            finally:
                issuer.gate.set()
                started.close()


def _platform(folder: str, *, more: bool = False, ttl: str = "1h") -> dict[str, Any]:
    bindings: dict[str, object] = {
        "lake": {"storage": ours.STORAGE, "protocols": ["aws-container"]},
        "catalog": {"catalog": ours.CATALOG, "protocols": ["oauth2-token"]},
    }
    if more:
        bindings["more"] = {"storage": ours.STORAGE, "locations": [f"{ours.LOCATION}/2026/"], "protocols": ["aws-container"]}
    section = {"directory": f"{folder}/sidecar", "listen": "127.0.0.1:0", "bindings": bindings}
    lake = {**ours.CONFIGURATION["storage"][ours.STORAGE], "region": "us-east-1", "max_ttl": ttl}
    return {**ours.CONFIGURATION, "storage": {ours.STORAGE: lake}, "sidecar": section}


@dataclass(slots=True)
class _Asked:
    """One of the requests that are made over and over. ``valid_until``: the usable end of what it was last answered."""

    scope: dict[str, Any]
    body: bytes
    token: str
    """The field of the answer."""
    valid_until: float = 0.0


class Week:
    """Asks, lets the clock go on, and has things befall the sidecar."""

    def __init__(self, started: Sidecar, file: Path, issuer: Issuer, clock: ManualClock) -> None:
        self._sidecar, self._file = started, file
        self._issuer, self._clock = issuer, clock
        self._flights = started.broker._brokerage.engine._running
        self._ledger = Ledger()
        self._asked = (self._container_credentials(), self._oauth2_token())
        self._reloads = itertools.cycle((self._unchanged, self._with_more, self._with_a_fault, self._with_a_changed_profile))
        self._jumps = itertools.cycle((_JUMP, -_JUMP))
        self._beyond = itertools.cycle((1.0, _GUARD + 1.0))
        self._ttls = itertools.cycle(("50m", "1h"))
        self._ttl = "1h"

    async def run(self, requests: int) -> Ledger:
        step, since = _WEEK / requests, 0.0
        for number in range(1, requests + 1):
            now = self._clock.elapsed()
            asked = self._asked[number % len(self._asked)]
            if now > asked.valid_until - 2 * _TAKES:
                self._issuer.gate.set()  # who waits for an issue stops the clock: it must not be held back
            self._judge(asked, now, *await self._ask(asked))
            self._issuer.gate.clear()
            tick(self._sidecar.broker)  # starts what is due, ends what is overdue
            if self._flights:
                self._ledger.under_way += 1
                since = since or now
                if now >= since + _TAKES:
                    self._land()
            if not self._flights:
                since = 0.0
            self._befalls(number)
            if number in (requests // 5, requests):
                gc.collect()
                self._ledger.resident.append(resident(os.getpid()))
            self._clock.advance(step)
        return self._ledger

    async def _ask(self, asked: _Asked) -> tuple[int, bytes]:
        told: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": asked.body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            told.append(message)

        await self._sidecar._app(asked.scope, receive, send)
        return told[0]["status"], told[1]["body"]

    def _judge(self, asked: _Asked, now: float, status: int, body: bytes) -> None:
        if status != 200:
            self._ledger.refused += 1
            self._ledger.refused_while_valid += now < asked.valid_until
            return
        answer = json.loads(body)
        over_at = self._issuer.over_at.get(answer[asked.token], 0.0)
        self._ledger.expired += now >= over_at
        self._ledger.in_guard += now >= over_at - _GUARD
        if "expires_in" in answer:
            left = float(answer["expires_in"])
        else:
            left = (datetime.fromisoformat(answer["Expiration"]) - self._clock.now()).total_seconds()
        self._ledger.told_too_long += left > over_at - now
        asked.valid_until = over_at - _GUARD

    def _land(self) -> None:
        """Let the refreshes that are under way end."""
        self._issuer.gate.set()
        for flight in list(self._flights):
            flight.wait(_PATIENCE)
        self._issuer.gate.clear()

    # -- what befalls it -----------------------------------------------------------------------------------------------

    def _befalls(self, number: int) -> None:
        if number % _JUMP_EVERY == 0:
            self._clock.jump(next(self._jumps))
        if number % _SLEEP_EVERY == 0:
            # Until just after the end of what is asked for next, by the guard and by the issuer's word in turn.
            ends = self._asked[(number + 1) % len(self._asked)].valid_until
            self._clock.advance(max(0.0, ends + next(self._beyond) - self._clock.elapsed()))
            self._ledger.sleeps += 1
        if number % _RELOAD_EVERY == 0:
            self._land()
            next(self._reloads)()

    def _unchanged(self) -> None:
        self._reload(_platform(self._folder, ttl=self._ttl))

    def _with_more(self) -> None:
        self._reload(_platform(self._folder, more=True, ttl=self._ttl))

    def _with_a_fault(self) -> None:
        self._reload({**_platform(self._folder), "storage": {}}, faulty=True)

    def _with_a_changed_profile(self) -> None:
        self._ttl = next(self._ttls)
        self._reload(_platform(self._folder, ttl=self._ttl))
        self._asked[0].valid_until = 0.0  # what was issued under the settings before is not handed out any more

    def _reload(self, content: dict[str, Any], *, faulty: bool = False) -> None:
        self._file.write_text(json.dumps(content))
        self._ledger.reloads += 1
        self._ledger.faulty += faulty
        try:
            self._sidecar.reload()
        except ConfigurationError:
            self._ledger.misjudged += not faulty
        else:
            self._ledger.misjudged += faulty

    @property
    def _folder(self) -> str:
        return str(self._file.parent)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _container_credentials(self) -> _Asked:
        headers = {"authorization": self._token("lake")}
        return _Asked(self._scope("GET", "/lake/aws-container", headers), b"", "Token")

    def _oauth2_token(self) -> _Asked:
        body = f"grant_type=client_credentials&client_id=catalog&client_secret={self._token('catalog')}".encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
        return _Asked(self._scope("POST", "/catalog/oauth2-token", headers), body, "access_token")

    def _token(self, binding: str) -> str:
        return (Path(self._sidecar.directory) / f"{binding}.token").read_text()

    def _scope(self, method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        from credbroker.system.peer import Peer

        sent = {"host": self._sidecar.authority, **headers}
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "state": {"peer": Peer(uid=os.geteuid(), pid=None, unix=False)},
        }
