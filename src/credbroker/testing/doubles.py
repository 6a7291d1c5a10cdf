"""A clock moved by hand, a provider answered by hand, a transport that answers from a list."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from credbroker.context import Connection, Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, Credential
from credbroker.errors import CredbrokerError, IssuerUnavailable
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from credbroker.broker import Broker

_PATIENCE = 10.0  # seconds of real time after which a test that waits for a call is stuck, and should say so
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that stands until it is moved. With it in a ``Context`` no background thread runs: call ``tick(broker)``."""

    def __init__(self, now: datetime = _SOME_TIME) -> None:
        self._wall = now
        self._elapsed = 1_000.0

    def now(self) -> datetime:
        return self._wall

    def elapsed(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time go by; a suspended machine is the same thing."""
        if seconds < 0:
            raise ValueError("time does not go back: use jump() to set the wall clock")
        self._elapsed += seconds
        self._wall += timedelta(seconds=seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or an operator does; no time goes by."""
        self._wall += timedelta(seconds=seconds)


def tick(broker: Broker) -> None:
    """Do what the background thread does: end what is overdue, start each refresh that is due."""
    broker._brokerage.engine.tick()  # noqa: SLF001


class ControlledProvider:
    """Issues tokens ``token-1``, ``token-2``, … that live for ``lifetime``; can be held back, made to fail, and counted.

    ``answer``, if given, makes the credential itself from (number, request, context).
    """

    def __init__(
        self,
        lifetime: timedelta = timedelta(hours=1),
        *,
        answer: Callable[[int, CredentialRequest, Context], Credential] | None = None,
    ) -> None:
        self.lifetime = lifetime
        self.calls = 0
        self.requests: list[CredentialRequest] = []
        self._answer = answer
        self._error: CredbrokerError | None = None
        self._open = threading.Event()
        self._open.set()
        self._called = threading.Condition()

    def hold(self) -> None:
        """Let every issue from now on wait for ``release``."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def fail_with(self, error: CredbrokerError | None) -> None:
        """Raise ``error`` at every issue from now on; None: issue again."""
        self._error = error

    def wait_for_calls(self, number: int) -> None:
        """Block until ``issue`` has been called that often."""
        with self._called:
            if not self._called.wait_for(lambda: self.calls >= number, timeout=_PATIENCE):
                raise TimeoutError(f"{self.calls} calls of issue, not {number}")

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        with self._called:
            self.calls += 1
            number = self.calls
            self.requests.append(request)
            self._called.notify_all()
        started = context.clock.now()
        if not self._open.wait(timeout=6 * _PATIENCE):
            raise IssuerUnavailable("held back and never released")
        if self._error is not None:
            raise self._error.fresh()
        if self._answer is not None:
            return self._answer(number, request, context)
        from pydantic import SecretStr

        return AccessToken(SecretStr(f"token-{number}"), expires_at=started + self.lifetime)

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant(locations=request.locations or None, access=request.access)


class FakeHttp:
    """A transport that answers with what it was given, in order, and keeps each request. A function answers by itself."""

    def __init__(self, *answers: HttpResponse | CredbrokerError | Callable[[HttpRequest], HttpResponse]) -> None:
        self._answers = deque(answers)
        self.requests: list[HttpRequest] = []

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        self.requests.append(request)
        if not self._answers:
            raise IssuerUnavailable(f"FakeHttp has no answer left for {request.method} {request.url}")
        answer = self._answers.popleft()
        if isinstance(answer, CredbrokerError):
            raise answer.fresh()
        return answer if isinstance(answer, HttpResponse) else answer(request)


def answer(body: object = b"", status: int = 200, **headers: str) -> HttpResponse:
    """An issuer's answer: ``body`` as JSON unless it is bytes; ``retry_after="7"`` is the header ``retry-after``.

    What was sent when is for the transport to say: under a broker, and in ``check_provider``, it does.
    """
    import json

    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, raw, _SOME_TIME, _SOME_TIME)
