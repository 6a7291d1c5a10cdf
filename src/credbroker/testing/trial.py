"""One provider in a world made by hand, in which everything that it does is seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from credbroker import limits
from credbroker.context import Connection, Context, HttpRequest, HttpResponse
from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError, SecretNotFound
from credbroker.profile import Profile
from credbroker.providers import Provider
from credbroker.request import CredentialRequest
from credbroker.testing.doubles import ManualClock
from credbroker.testing.watching import Seen, watched

if TYPE_CHECKING:
    from pydantic import SecretStr

    from credbroker.secrets.reference import SecretReference

Answers = Callable[[HttpRequest, datetime], HttpResponse]
"""The issuer: what it answers to a request that reached it at that time by its clock."""
FLIGHT = 7.5
"""Seconds that each issue has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be held to the contract, and what it needs for it."""

    make: Callable[[], Provider]
    config: Mapping[str, Any] = field(repr=False)
    profile: Profile
    request: CredentialRequest
    answers: Answers | None
    secrets: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)

    @property
    def asked(self) -> CredentialRequest:
        """The request as the broker hands it on."""
        return limits.within(self.request, self.profile)


class Sent(NamedTuple):
    """One request, and by what rules it was sent."""

    request: HttpRequest
    timeout: float
    allow_insecure: bool
    recorded: bool

    @property
    def content(self) -> tuple[object, ...]:
        return (self.request.method, self.request.url, sorted(self.request.headers.items()), self.request.body)


class Issuer:
    """The transport, with the issuer behind it. ``fault`` is what the request of number ``at`` meets instead."""

    def __init__(
        self,
        clock: ManualClock,
        answers: Answers | None,
        *,
        fault: HttpResponse | CredbrokerError | None = None,
        at: int = 1,
        slow: float = 0.0,
        gate: threading.Barrier | None = None,
    ) -> None:
        self.sent: list[Sent] = []
        self.broke: BaseException | None = None
        """What the issuer itself raised: the request was not what it takes."""
        self._clock = clock
        self._answers = answers
        self._fault = fault
        self._at = at
        self._slow = slow
        self._gate = gate

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        self.sent.append(Sent(request, timeout, allow_insecure, on_connection is not None))
        sent = self._clock.now()
        if self._gate is not None:
            self._gate.wait()
        answer: HttpResponse
        if self._fault is not None and len(self.sent) >= self._at:
            if isinstance(self._fault, CredbrokerError):
                raise self._fault.fresh()
            answer = self._fault
        elif self._answers is None:
            self.broke = AssertionError("the provider sent a request, and no issuer was given: pass answers=")
            raise self.broke
        else:
            try:
                answer = self._answers(request, sent)
            except BaseException as error:
                self.broke = error
                raise
        if self._slow:
            self._clock.advance(self._slow)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return replace(answer, headers=headers, sent=sent, received=self._clock.now())


class Vault:
    """The secrets, by name. ``looked`` is what was asked for."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = dict(secrets)
        self.looked: list[str] = []

    def resolve(self, reference: SecretReference) -> SecretStr:
        from pydantic import SecretStr

        from credbroker.secrets.backend import lookup

        self.looked.append(reference.secret_ref)
        text = self._secrets.get(reference.secret_ref)
        found = None if text is None else lookup("the test", text, reference.field).secret
        if found is None:
            raise SecretNotFound(f"secret {str(reference)!r} not found")
        return SecretStr("".join([*found.get_secret_value()]))  # a text of its own: whoever keeps it is found

    def lease(self, reference: SecretReference) -> NoReturn:
        raise SecretNotFound(f"secret {str(reference)!r} not found: the suite gives no leases")

    def revoke(self, lease: str) -> NoReturn:
        raise SecretNotFound("the suite gives no leases")


class Variables:
    """The environment: variables, and no file."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def variable(self, name: str) -> str | None:
        return self._variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise FileNotFoundError(path)

    def names(self, path: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one issue ended, and what was seen of it."""

    value: Credential | None = field(repr=False)
    error: BaseException | None
    sent: tuple[Sent, ...]
    looked: tuple[str, ...]
    seen: Seen
    asked: datetime
    broke: BaseException | None


class Trial:
    """One provider, made anew, that is asked as often as a check wants."""

    def __init__(self, subject: Subject, *, clock: ManualClock | None = None) -> None:
        self.subject = subject
        self.clock = clock or ManualClock()
        self.provider = subject.make()

    def issue(
        self,
        *,
        fault: HttpResponse | CredbrokerError | None = None,
        at: int = 1,
        slow: float = 0.0,
        secrets: Mapping[str, str] | None = None,
        answers: Answers | None = None,
    ) -> Outcome:
        """One issue, in which nothing goes unseen. ``answers`` stands in for the subject's issuer."""
        return self.call(
            lambda context: self.provider.issue(self.subject.asked, context),
            fault=fault,
            at=at,
            slow=slow,
            secrets=secrets,
            answers=answers,
        )

    def call(
        self,
        call: Callable[[Context], Any],
        *,
        fault: HttpResponse | CredbrokerError | None = None,
        at: int = 1,
        slow: float = 0.0,
        secrets: Mapping[str, str] | None = None,
        answers: Answers | None = None,
    ) -> Outcome:
        """The same for any call of the provider's."""
        issuer = Issuer(self.clock, answers or self.subject.answers, fault=fault, at=at, slow=slow)
        vault = Vault(self.subject.secrets if secrets is None else secrets)
        asked = self.clock.now()
        value, error = None, None
        with watched() as seen:
            try:
                value = call(self.context(issuer, vault, self.clock))
            except (Exception, SystemExit) as raised:  # noqa: BLE001 - what it raises is what is judged
                error = raised
        return Outcome(value, error, tuple(issuer.sent), tuple(vault.looked), seen, asked, issuer.broke)

    def context(self, issuer: Issuer, vault: Vault, clock: ManualClock) -> Context:
        """What the broker would hand over."""
        end = clock.elapsed() + FLIGHT
        return Context(
            clock=clock,
            http=issuer,
            environment=Variables(self.subject.variables),
            secrets=vault,
            profile=self.subject.profile,
            remaining=lambda: max(0.0, end - clock.elapsed()),
            on_connection=_noted,
        )


def _noted(connection: Connection) -> None:
    """Where a request went is noted by the broker."""
