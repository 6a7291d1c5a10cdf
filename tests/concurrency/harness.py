"""An engine whose time stands still and whose issuer is answered by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from credbroker.credentials import AccessToken, Credential
from credbroker.errors import CredbrokerError
from credbroker.refresh.engine import Engine
from credbroker.refresh.flight import Flight
from credbroker.refresh.slot import Loaded, Slot
from credbroker.testing import ManualClock

PATIENCE = 10.0
HOUR = 3600.0


def token(text: str) -> AccessToken:
    return AccessToken(SecretStr(text))


class Issuer:
    """A loader: numbers its tokens, can be held back and made to fail, and counts."""

    def __init__(self, clock: ManualClock, lifetime: float | None = HOUR) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.calls = 0
        self.error: CredbrokerError | BaseException | None = None
        self.same: str | None = None
        self.over_at: float | None = None
        self._gate = threading.Event()
        self._gate.set()
        self._called = threading.Condition()

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def wait_for_calls(self, number: int) -> None:
        with self._called:
            assert self._called.wait_for(lambda: self.calls >= number, timeout=PATIENCE), self.calls

    def __call__(self, slot: Slot, flight: Flight) -> Loaded:
        sent = self.clock.elapsed()
        with self._called:
            self.calls += 1
            number = self.calls
            self._called.notify_all()
        gate = self._gate
        assert gate.wait(timeout=PATIENCE)
        if isinstance(self.error, CredbrokerError):
            raise self.error.fresh()
        if self.error is not None:
            raise self.error
        lifetime = self.lifetime if self.over_at is None else self.over_at - sent
        return Loaded(token(self.same or f"token-{number}"), sent, lifetime, 60.0)


class Bench:
    """One key on one engine."""

    def __init__(self, lifetime: float | None = HOUR, **engine: Any) -> None:
        self.clock = ManualClock()
        self.retired: list[tuple[str, bool]] = []
        self.engine = Engine(
            self.clock,
            background=False,
            jitter=lambda: 0.0,
            on_retired=lambda _, value, used: self.note(value, used),
            **engine,
        )
        self.issuer = Issuer(self.clock, lifetime)

    def note(self, value: Credential, used: bool) -> None:
        assert isinstance(value, AccessToken)
        self.retired.append((value.value.get_secret_value(), used))

    def slot(self, key: str = "key", load: Callable[[Slot, Flight], Loaded] | None = None) -> Slot:
        return self.engine.slot(key, lambda: Slot(key, profile=key, load=load or self.issuer))

    def get(self, demand: float | None = None, *, wait: bool = False, key: str = "key") -> str:
        while True:
            value = self.engine.get(self.slot(key), demand, wait, None)
            if isinstance(value, AccessToken):
                return value.value.get_secret_value()

    async def aget(self, demand: float | None = None, *, wait: bool = False, key: str = "key") -> str:
        while True:
            value = await self.engine.aget(self.slot(key), demand, wait, None)
            if isinstance(value, AccessToken):
                return value.value.get_secret_value()

    def settled(self) -> None:
        """Wait until no flight is under way."""
        for flight in list(self.engine._running):
            assert flight.wait(PATIENCE) is not None

    def in_threads(self, number: int, get: Callable[[], str] | None = None) -> list[Asker]:
        askers = [Asker(get or self.get) for _ in range(number)]
        for asker in askers:
            asker.start()
        return askers


class Asker(threading.Thread):
    """A thread that gets once and keeps what came of it."""

    def __init__(self, get: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._ask = get
        self.value: str | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self._ask()
        except BaseException as error:
            self.error = error

    def result(self) -> str | None:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.value
