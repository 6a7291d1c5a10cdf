"""Section ``soak``: a simulated day of gets on values that live for 15 minutes, with an issuer that has bad hours.

A manual clock moves between two gets. Each refresh is held back for some seconds of that clock, so that many gets meet it
under way. The ledger is the issuer's own: which token it gave, and when that one is over.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr

from benchmarks import ours
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort
from credbroker import AccessToken, Broker
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.request import CredentialRequest
from credbroker.testing import ManualClock, tick

_DAY, _LIFE = 86_400.0, 900.0
_GUARD = 15.0
"""The last seconds of a life, in which it is never handed out."""
_TAKES = 4.0
"""Seconds of the manual clock for which each refresh is held back."""
_PATIENCE = 10.0


@dataclass(slots=True)
class Fault:
    """What befalls the first ``times`` issues of a window, or all for ``seconds`` from the first one on."""

    error: CredbrokerError
    times: int = 1
    seconds: float = 0.0
    hangs: bool = False


def _faults() -> dict[int, Fault]:
    """By window, that is by how many tokens have been issued."""
    throttled = IssuerUnavailable("throttled", retryable=True, retry_after=timedelta(seconds=60))
    return {
        10: Fault(IssuerUnavailable("connection refused", retryable=True)),
        20: Fault(IssuerUnavailable("502", retryable=True), times=4),
        30: Fault(throttled),
        40: Fault(IssueDenied("invalid_client"), times=2),
        50: Fault(IssuerUnavailable("too late for anybody"), hangs=True),
        60: Fault(IssuerUnavailable("down", retryable=True), seconds=2_700),
        70: Fault(throttled, times=2),
    }


_SUSPENDED = {15: 1_200.0, 85: 900.0}
"""By window, too: the machine sleeps for so many seconds. Neither this nor the next is a fault: one issue has to do."""
_WALL_JUMPS = {25: 7_200.0, 45: -7_200.0}


class Issuer:
    """A provider that answers when its gate is open, and books each token with the instant at which it is over."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._faults = _faults()
        self.gate = threading.Event()
        self.issued: dict[str, float] = {}
        self.calls = 0
        self.faulty: set[int] = set()
        self.down_until: float | None = None
        self.outage = False
        self.hanging = False

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        self.calls += 1
        window, asked, wall = len(self.issued), self._clock.elapsed(), context.clock.now()
        fault = self._befalls(window, asked)
        self.gate.wait(_PATIENCE)
        if fault is not None:
            raise fault.error.fresh()
        token = f"token-{window + 1}"
        self.issued[token] = asked + _LIFE
        return AccessToken(SecretStr(token), expires_at=wall + timedelta(seconds=_LIFE))

    def _befalls(self, window: int, now: float) -> Fault | None:
        fault = self._faults.get(window)
        if fault is None:
            return None
        self.faulty.add(window)
        if fault.seconds:
            if self.down_until is None:
                self.down_until = now + fault.seconds
            self.outage = now < self.down_until
            return fault if self.outage else None
        fault.times -= 1
        self.hanging = fault.hangs and fault.times >= 0
        return fault if fault.times >= 0 else None


@dataclass(slots=True)
class Ledger:
    """What the day came to."""

    expired: int = 0
    in_guard: int = 0
    refused: int = 0
    refused_else: int = 0
    """While the issuer was not down for longer than a value lives."""
    under_way: int = 0
    issues: list[int] = field(default_factory=list)
    """The issuer's calls for each value that replaced another one, where no fault befell them."""


def run(effort: Effort) -> Table:
    clock = ManualClock()
    issuer = Issuer(clock)
    broker = Broker.from_config(ours.CONFIGURATION, providers={"oauth2": issuer}, context=Context(clock=clock))
    with broker:
        ledger = _day(broker, issuer, clock, effort.gets)
    none, once = Target("count", "=", 0), Target("count", "=", 1)
    rows = [
        _row("gets", effort.gets),
        _row("values handed out that were over", ledger.expired, none),
        _row("values handed out in the guard, the last 15 s", ledger.in_guard, none),
        _row("gets refused in an outage longer than a life", ledger.refused - ledger.refused_else),
        _row("gets refused besides", ledger.refused_else, none),
        _row("gets that met a refresh under way", ledger.under_way),
        _row("windows", len(issuer.issued) - 1),
        _row("windows without a fault of the issuer", len(ledger.issues)),
        _row("most issues in one of those", max(ledger.issues), once),
        _row("issues in all, failed ones too", issuer.calls),
    ]
    return Table("soak", rows)


def _row(name: str, count: int, *targets: Target) -> Row:
    return Row(name, {"count": count}, targets)


def _day(broker: Broker, issuer: Issuer, clock: ManualClock, gets: int) -> Ledger:
    source, ledger, step = broker.catalog(ours.CATALOG), Ledger(), _DAY / gets
    flights = broker._brokerage.engine._running
    held, over_at, calls, since = "", 0.0, 0, 0.0
    for _ in range(gets):
        now = clock.elapsed()
        if now > over_at - _GUARD - 2 * _TAKES:
            issuer.gate.set()  # a get that waits for its issue stops the clock: it must not be held back
        try:
            token = source.get().value.get_secret_value()
        except CredbrokerError:
            ledger.refused += 1
            ledger.refused_else += not issuer.outage
        else:
            ledger.expired += now >= issuer.issued[token]
            ledger.in_guard += now >= issuer.issued[token] - _GUARD
            if token != held:
                window = len(issuer.issued)
                if held and window - 1 not in issuer.faulty:
                    ledger.issues.append(issuer.calls - calls)
                held, over_at, calls = token, issuer.issued[token], issuer.calls
                issuer.gate.clear()
                clock.advance(_SUSPENDED.get(window, 0.0))
                clock.jump(_WALL_JUMPS.get(window, 0.0))
        if flights:
            ledger.under_way += 1
            since = since or now
            if now >= since + _TAKES and not issuer.hanging:
                _land(broker, issuer)
            tick(broker)  # ends what is overdue
        if not flights:
            since, issuer.hanging = 0.0, False
        clock.advance(step)
    _land(broker, issuer)
    return ledger


def _land(broker: Broker, issuer: Issuer) -> None:
    """Let the refresh that is under way end."""
    issuer.gate.set()
    for flight in list(broker._brokerage.engine._running):
        flight.wait(_PATIENCE)
    issuer.gate.clear()
