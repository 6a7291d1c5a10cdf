"""Contenders: each way to hold a credential behind one call without arguments, fed by one issuer that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec

Get = Callable[[], object]


class IssuerDownError(Exception):
    """What the issuer raises while it is down."""


class Issuer:
    """Stands in for the far side: counts its calls, takes ``latency`` seconds, then answers or is down."""

    def __init__(self, latency: float = 0.0, *, down: bool = False) -> None:
        self.latency = latency
        self.down = down
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.calls += 1
            number = self.calls
        if self.latency:
            time.sleep(self.latency)
        if self.down:
            raise IssuerDownError
        return f"token-{number}"


class State(Enum):
    """In what state a contender is handed over."""

    WARM = "a value held, good for an hour"
    COLD = "nothing held"
    DUE = "a value held, still good, inside the contender's own window for its refresh"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``statement`` is what is timed where a wrapper's own frame would weigh on the figure."""

    function: Get
    statement: str = "call()"
    names: Mapping[str, object] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Contender:
    """``make(issuer, state)`` builds a fresh one; ``needs`` is the module it is about; ``states`` are those it has."""

    name: str
    make: Callable[[Issuer, State], Call]
    states: frozenset[State]
    needs: str = ""
    hit_target: float | None = None
    """How many times the floor a hit may cost."""

    @property
    def ours(self) -> bool:
        return self.name.startswith("credbroker")

    @property
    def installed(self) -> bool:
        try:
            return not self.needs or find_spec(self.needs) is not None
        except ModuleNotFoundError:  # the parent of a dotted name is not there
            return False


class Floor:
    """The least that a check of an expiry costs: one call, an attribute, the clock, a comparison."""

    __slots__ = ("_good_until", "_value")

    def __init__(self, value: str, good_until: float) -> None:
        self._value = value
        self._good_until = good_until

    def get(self) -> str:
        if time.monotonic() < self._good_until:
            return self._value
        raise IssuerDownError


class LockedDict:
    """The least that a keyed cache behind one lock costs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = {("profile", "scope"): ("token", time.monotonic() + 3600)}

    def get(self) -> str:
        with self._lock:
            value, good_until = self._held["profile", "scope"]
            if time.monotonic() < good_until:
                return value
        raise IssuerDownError


def _floor(_issuer: Issuer, _state: State) -> Call:
    return Call(Floor("token", time.monotonic() + 3600).get)


def _locked_dict(_issuer: Issuer, _state: State) -> Call:
    return Call(LockedDict().get)


FLOOR = Contender("floor", _floor, frozenset({State.WARM, State.DUE}))
LOCKED_DICT = Contender("a dict behind a lock", _locked_dict, frozenset({State.WARM}))
