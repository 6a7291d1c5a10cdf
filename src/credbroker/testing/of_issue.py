"""The checks of ``issue`` with an issuer that answers: what it returns, keeps, touches and shows."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import (
    AccessToken,
    ADLSCredentials,
    Credential,
    DatabaseCredentials,
    GCSCredentials,
    S3Credentials,
)
from credbroker.errors import CredbrokerError, SecretNotFound
from credbroker.granting import check_grant
from credbroker.profile import Profile
from credbroker.request import CredentialRequest
from credbroker.testing.conformance import Check, NotApplicable
from credbroker.testing.doubles import ManualClock
from credbroker.testing.leaks import forms, held, holdings, revealed, shown
from credbroker.testing.trial import FLIGHT, Issuer, Outcome, Subject, Trial, Vault
from credbroker.testing.watching import watched

_VALUES: dict[str, tuple[type, ...]] = {
    "catalog": (AccessToken,),
    "storage": (S3Credentials, GCSCredentials, ADLSCredentials),
    "compute": (AccessToken, DatabaseCredentials),
}
_ALL_VALUES = tuple(kind for kinds in _VALUES.values() for kind in kinds)
_YEARS = 10 * 365 * 86_400.0  # seconds
_THREADS = 8
_PATIENCE = 5.0  # seconds of real time in which eight threads reach the issuer, unless one holds up the others
_SLACK = timedelta(seconds=1)


def issued(outcome: Outcome) -> Credential:
    """The value of an issue that had to succeed. What the test's own issuer raised goes to its author as it is."""
    if outcome.broke is not None:
        raise outcome.broke
    if outcome.value is None:
        raise NotApplicable(f"a plain issue fails with {type(outcome.error).__name__}")
    return outcome.value


def _returns_a_value(subject: Subject) -> Iterator[str]:
    outcome = Trial(subject).issue()
    if outcome.broke is not None:
        raise outcome.broke
    if outcome.error is not None:
        yield f"it raised {type(outcome.error).__name__} for a good answer: {outcome.error}"
        return
    value = outcome.value
    if value is None or not isinstance(value, _VALUES[subject.request.kind]):
        wanted = " or ".join(kind.__name__ for kind in _VALUES[subject.request.kind])
        yield f"it returned {type(value).__name__}; for {subject.request.kind} it is {wanted}"
        return
    end = value.expires_at
    if end is not None and (end.tzinfo is not UTC or end <= outcome.asked):
        yield "its expires_at is no aware UTC datetime that is still to come"
    try:
        check_grant(subject.asked, subject.profile, value)
    except CredbrokerError as error:
        yield f"it claims more than was asked: {error.message}"


def _asks_anew(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    first, second = trial.issue(), trial.issue()
    issued(first)
    if len(second.sent) != len(first.sent):
        yield f"the first issue sent {len(first.sent)} request(s), the second {len(second.sent)}"
    if second.looked != first.looked:
        yield f"the first issue resolved {len(first.looked)} secret(s), the second {len(second.looked)}"
    if first.value is second.value:
        yield "two issues returned one object"


def _uses_a_rotated_secret(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    first = trial.issue()
    value = issued(first)
    if not first.looked:
        raise NotApplicable("it resolves no secret")
    used = {name: text for name, text in subject.secrets.items() if name in first.looked}
    rotated = trial.issue(secrets={**subject.secrets, **{name: f"{text}-rotated" for name, text in used.items()}})
    if not set(rotated.looked) & set(first.looked):
        yield "the second issue did not resolve the secret again"
    elif subject.answers is None and isinstance(rotated.value, type(value)) and rotated.value == value:
        yield "the value is that of the old secret"
    elif rotated.sent and [one.content for one in rotated.sent] == [one.content for one in first.sent]:
        yield "the second issue sent what the first had sent, with the old secret"


def _keeps_nothing(subject: Subject) -> Iterator[str]:
    value = issued(Trial(subject).issue())  # imports what it needs
    secrets = {name: f"{text}-kept" for name, text in subject.secrets.items()}
    texts = forms([*subject.secrets.values(), *secrets.values(), *revealed(value)])
    kinds = (CredentialRequest, Context, HttpRequest, HttpResponse, Profile, Issuer, Vault, *_ALL_VALUES)

    def telling(thing: object) -> bool:
        text = thing.decode("latin-1") if isinstance(thing, bytes) else thing
        return isinstance(thing, kinds) or (isinstance(text, str) and shown(text, texts))

    trial = Trial(subject)
    before = held(holdings(trial.provider), telling)
    outcomes = trial.issue(), trial.issue(secrets=secrets)
    kept = held(holdings(trial.provider), telling).keys() - before.keys()
    del outcomes  # alive until here, so that no other object has their ids
    if kept:
        yield "after an issue it, its class or its module holds a request, a context, an answer, a secret or a value"


def _uses_the_clock(subject: Subject) -> Iterator[str]:
    clock = ManualClock()
    trial = Trial(subject, clock=clock)
    first = trial.issue()
    end = issued(first).expires_at
    if end is None:
        raise NotApplicable("the value has no end")
    clock.advance(_YEARS)
    later = trial.issue()
    if later.value is None or later.value.expires_at is None:
        yield f"ten years later it fails with {type(later.error).__name__}: does it read another clock?"
    elif abs((later.value.expires_at - later.asked) - (end - first.asked)) > _SLACK:
        yield "ten years later the value lives longer or shorter: it reads another clock than context.clock"
    slow = Trial(subject).issue(slow=FLIGHT / 2)
    life = _life(slow) if slow.value is not None else None
    if life is not None and life > end - first.asked:
        yield "a slow answer makes the value live longer: count from HttpResponse.sent"


def _sends_by_the_context(subject: Subject) -> Iterator[str]:
    outcome = Trial(subject).issue()
    issued(outcome)
    if not outcome.sent:
        raise NotApplicable("it sends nothing")
    for one in outcome.sent:
        if not 0 < one.timeout <= FLIGHT:
            yield f"it gave a request {one.timeout:g} s, and the flight has {FLIGHT:g}"
        if one.allow_insecure != subject.profile.allow_insecure:
            yield "it sets allow_insecure by itself"
        if not one.recorded:
            yield "it sends past context.send: the audit does not learn where the request went"


def _touches_nothing_else(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    issued(trial.issue())  # imports what it needs
    yield from (f"it reached for {thing}" for thing in trial.issue().seen.touched)


def _says_what_is_absent(subject: Subject) -> Iterator[str]:
    first = Trial(subject).issue()
    issued(first)
    if not first.looked:
        raise NotApplicable("it resolves no secret")
    outcome = Trial(subject).issue(secrets={})
    if not isinstance(outcome.error, SecretNotFound):
        yield f"without its secret it {_ended(outcome)}; let SecretNotFound pass"
    if outcome.sent:
        yield "it asks the issuer though it has no secret"


def _shows_nothing(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    first = trial.issue()
    value = issued(first)
    secrets = forms([*subject.secrets.values(), *revealed(value)])
    places = {
        "what it logs, warns or prints": first.seen.said + trial.issue().seen.said,
        "the value's repr": f"{value!r} {value}",
        "its own repr": f"{trial.provider!r} {trial.provider} {getattr(trial.provider, '__dict__', '')}",
        "its plan": repr(trial.provider.plan(subject.asked, subject.profile)),
    }
    yield from (f"a secret or the value is in {place}" for place, text in places.items() if shown(text, secrets))


def _serves_threads(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    plain = trial.issue()
    life = _life(plain)
    gate = threading.Barrier(_THREADS, timeout=_PATIENCE)
    results: list[tuple[ManualClock, Credential | BaseException, int]] = []

    def ask(number: int) -> None:
        clock = ManualClock()
        clock.advance(number * _YEARS)  # each thread in a decade of its own
        issuer, vault = Issuer(clock, subject.answers, gate=gate), Vault(subject.secrets)
        result: Credential | BaseException
        try:
            result = trial.provider.issue(subject.asked, trial.context(issuer, vault, clock))
        except BaseException as error:  # noqa: BLE001 - handed to the judge
            result = error
        results.append((clock, result, len(issuer.sent)))

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * _PATIENCE)
    if len(results) < _THREADS or gate.broken:
        yield f"of {_THREADS} threads that issue at once, some wait for another's request"
        return
    for clock, result, sent in results:
        if isinstance(result, BaseException):
            yield f"with {_THREADS} threads at once it raised {type(result).__name__}"
        elif sent != len(plain.sent):
            yield f"with {_THREADS} threads at once an issue sent {sent} request(s) instead of {len(plain.sent)}"
        elif life is not None and (result.expires_at is None or abs(result.expires_at - clock.now() - life) > _SLACK):
            yield f"with {_THREADS} threads at once it mixes one call with another's"


def _life(outcome: Outcome) -> timedelta | None:
    end = issued(outcome).expires_at
    return None if end is None else end - outcome.asked


def _works_under_a_broker(subject: Subject) -> Iterator[str]:
    """Held, replaced when it ends, and its handle pickles as a reference."""
    from credbroker.broker import Broker

    trial = Trial(subject)
    issued(trial.issue())
    clock = ManualClock()
    issuer, vault = Issuer(clock, subject.answers), Vault(subject.secrets)
    settings = subject.profile.credentials
    given = {settings.mode: trial.provider} if settings else {}
    context = replace(trial.context(issuer, vault, clock), profile=None, on_connection=None)  # type: ignore[arg-type]
    with watched() as seen, Broker.from_config(subject.config, providers=given, context=context) as broker:
        source = broker._source(subject.request)  # noqa: SLF001 - the noun of whatever kind it is
        first = source.get()
        pickled = pickle.dumps(source)
        travelled = pickle.loads(pickled).get()  # noqa: S301 - made the line before
        source.explain()
        sent = len(issuer.sent)
        if first.expires_at is not None:
            clock.advance((first.expires_at - clock.now()).total_seconds() + 1)
            try:
                replaced = source.get().expires_at != first.expires_at and len(issuer.sent) > sent
            except CredbrokerError:
                replaced = False
            if not replaced:
                yield "a value that is over is not replaced by a new one"
    if travelled is not first:
        yield "a pickled handle does not lead back to the value"
    if shown(seen.said + repr(pickled), forms([*subject.secrets.values(), *revealed(first)])):
        yield "a secret or the value is in the audit's records, a log or the pickled handle"


def _ended(outcome: Outcome) -> str:
    return f"raised {type(outcome.error).__name__}" if outcome.error is not None else "returned a value"


CHECKS = (
    Check("issue returns what was asked for", 5, _returns_a_value),
    Check("issue asks anew each time", 3, _asks_anew),
    Check("issue uses a rotated secret", 3, _uses_a_rotated_secret),
    Check("issue keeps nothing", 3, _keeps_nothing),
    Check("issue counts by the context's clock", 5, _uses_the_clock),
    Check("issue sends by the context", 4, _sends_by_the_context),
    Check("issue touches nothing but the context", 4, _touches_nothing_else),
    Check("issue lets an absent secret be known", 6, _says_what_is_absent),
    Check("issue shows nothing", 7, _shows_nothing),
    Check("a broker holds, replaces and records what it issues", 7, _works_under_a_broker),
    Check("issue serves threads at once", 8, _serves_threads),
)
