"""The checks of ``issue`` with an issuer that refuses, fails, talks nonsense, or echoes what it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from credbroker.context import HttpRequest, HttpResponse
from credbroker.credentials import AccessToken
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.testing.conformance import Check, NotApplicable
from credbroker.testing.doubles import answer
from credbroker.testing.leaks import forms, revealed, shown, surfaces
from credbroker.testing.of_issue import issued
from credbroker.testing.trial import Outcome, Subject, Trial

_PAUSE = timedelta(seconds=7)
_UNAVAILABLE = (429, 500, 502, 503, 504)
_REFUSED = (401, 403)
_GARBAGE: dict[str, bytes] = {
    "an empty body": b"",
    "a page": b"<!doctype html><html><body>Sign in</body></html>",
    "bytes that are no text": b"\xff\xfe\x00\x01",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "a text": b'"ok"',
    "100,000 brackets": b"[" * 100_000,
}
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ELEMENT = re.compile(rb"<(\w+)>[^<]+</\1>")  # of XML, one that holds a text
# What a field of a good answer may turn into. A negative number first: the life of what is over.
_ODD: tuple[object, ...] = (-1, 10**400, float("nan"), True, None, 7, "", "canary\r\nx-injected: 1", ["a"], {"a": 1})


def _asks_once(subject: Subject) -> Iterator[str]:
    for number in range(1, _requests(subject) + 1):
        for name, fault in _faults().items():
            outcome = Trial(subject).issue(fault=fault, at=number)
            # After a refusal it may try one other secret, so what it sends differs.
            allowed = number
            if isinstance(fault, HttpResponse) and fault.status == 401 and len(set(outcome.looked)) > 1:
                allowed += 1
            if len(outcome.sent) > allowed:
                yield f"after {name} it asks again: {len(outcome.sent) - number + 1} requests instead of one"


def _faults() -> dict[str, HttpResponse | CredbrokerError]:
    found: dict[str, HttpResponse | CredbrokerError] = {
        f"HTTP {status}": answer({}, status) for status in (*_UNAVAILABLE, *_REFUSED)
    }
    found["a timeout"] = IssuerUnavailable("the issuer did not answer in time")
    found["a redirect"] = MalformedResponse("the issuer answered with a redirect")
    found["garbage"] = answer(_GARBAGE["a page"])
    return found


def _says_unavailable(subject: Subject) -> Iterator[str]:
    for number in range(1, _requests(subject) + 1):
        for status in _UNAVAILABLE:
            outcome = Trial(subject).issue(fault=answer({}, status, retry_after="7"), at=number)
            if not isinstance(outcome.error, IssuerUnavailable):
                yield f"after HTTP {status} it {_ended(outcome)}, not IssuerUnavailable"
            elif status in (429, 503) and outcome.error.retry_after != _PAUSE:
                yield f"after HTTP {status} its error lacks the retry_after of the Retry-After header"


def _says_refused(subject: Subject) -> Iterator[str]:
    for number in range(1, _requests(subject) + 1):
        for status in _REFUSED:
            error = Trial(subject).issue(fault=answer({}, status), at=number).error
            if not isinstance(error, IssueDenied):
                yield f"after HTTP {status} it ends in {type(error).__name__}, not IssueDenied"
            elif status == 401 and error.grant_denied:
                yield "after HTTP 401 its error says grant_denied: our own authentication failed, the grant was not judged"


def _passes_the_transports_errors(subject: Subject) -> Iterator[str]:
    """A timeout, a redirect, an answer over 1 MiB, a host that is not allowed: the transport has said it already."""
    for number in range(1, _requests(subject) + 1):
        for kind in (IssuerUnavailable, MalformedResponse, ConfigurationError):
            outcome = Trial(subject).issue(fault=kind("the transport's own words"), at=number)
            if type(outcome.error) is not kind:
                yield f"where the transport raises {kind.__name__}, it {_ended(outcome)}"


def _refuses_garbage(subject: Subject) -> Iterator[str]:
    for number in range(1, _requests(subject) + 1):
        for name, body in _GARBAGE.items():
            error = Trial(subject).issue(fault=answer(body), at=number).error
            if not isinstance(error, MalformedResponse):
                yield f"for {name} it ends in {type(error).__name__}, not MalformedResponse"


def _survives_odd_answers(subject: Subject) -> Iterator[str]:
    """Each field of a good answer, replaced and left out; and the answer cut off."""
    _requests(subject)
    ends = False
    for what, change in _changes(subject):
        outcome = Trial(subject).issue(answers=_changed(subject, change))
        error, value = outcome.error, outcome.value
        if error is not None and not isinstance(error, CredbrokerError):
            yield f"for {what} it raised {type(error).__name__}"
        elif value is not None and not isinstance(getattr(value, "expires_at", None), datetime | None):
            yield f"for {what} its expires_at is no datetime"
        elif value is not None and value.expires_at is not None and value.expires_at <= outcome.asked:
            yield f"for {what} it returned a value that is over: raise MalformedResponse or InsufficientLifetime"
        elif isinstance(value, AccessToken) and not _VISIBLE.fullmatch(str(value.value.get_secret_value())):
            yield f"for {what} it returned a token that would begin another header, or break its own"
        ends = ends or isinstance(error, InsufficientLifetime | MalformedResponse)
    if not ends:
        yield "however its answer is cut or changed, it finds nothing wrong with it"


_Change = Callable[[bytes], bytes]


def _changes(subject: Subject) -> Iterator[tuple[str, _Change]]:
    bodies: list[bytes] = []

    def noting(body: bytes) -> bytes:
        bodies.append(body)
        return body

    Trial(subject).issue(answers=_changed(subject, noting))
    yield "half of its answer", lambda body: body[: len(body) // 2]
    for body in bodies:
        for key in _object(body) or {}:
            yield f"its answer without {key!r}", _with(key)
            for odd in _ODD:
                shown_as = repr(odd) if len(repr(odd)) < 30 else f"{repr(odd)[:20]}..."
                yield f"{shown_as} as {key!r} of its answer", _with(key, odd)
        for tag in dict.fromkeys(_ELEMENT.findall(body)):
            yield f"its answer without <{tag.decode()}>", _element(tag, b"")
            for text in (b"", b"canary x-injected: 1"):
                yield (
                    f"{text.decode()!r} as <{tag.decode()}> of its answer",
                    _element(tag, b"<%s>%s</%s>" % (tag, text, tag)),
                )


def _with(key: str, *values: object) -> _Change:
    def change(body: bytes) -> bytes:
        answered = _object(body)
        if answered is None or key not in answered:
            return body
        del answered[key]
        answered.update((key, value) for value in values)
        return json.dumps(answered).encode()

    return change


def _element(tag: bytes, replaced: bytes) -> _Change:
    return lambda body: re.sub(rb"<%s>[^<]*</%s>" % (tag, tag), lambda _: replaced, body)


def _changed(subject: Subject, change: _Change) -> Callable[[HttpRequest, datetime], HttpResponse]:
    def answers(request: HttpRequest, now: datetime) -> HttpResponse:
        if subject.answers is None:
            raise NotApplicable("it asks nobody")
        good = subject.answers(request, now)
        return HttpResponse(good.status, good.headers, change(good.body), good.sent, good.received)

    return answers


def _object(body: bytes) -> dict[str, object] | None:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _errors_show_nothing(subject: Subject) -> Iterator[str]:
    """An issuer that echoes all that it was sent, and the token, in each kind of answer there is."""
    number = _requests(subject)
    tokens = tuple(revealed(issued(Trial(subject).issue())))
    texts = [*subject.secrets.values(), *tokens]
    secrets = forms(texts)
    echo = {"error": texts[0], "message": " ".join(texts), "error_description": texts, "access_token": texts[-1]}
    bodies = [json.dumps(echo).encode(), " ".join(texts).encode(), f"<html>{texts[0]} {texts[-1]}</html>".encode()]
    for status in (200, 201, 400, *_REFUSED, 404, *_UNAVAILABLE):
        for body in bodies:
            outcome = Trial(subject).issue(fault=answer(body, status, retry_after=texts[0]), at=number)
            yield from _leaks(outcome, secrets, f"after HTTP {status} with an echo")
    for what, change in _changes(subject):
        yield from _leaks(Trial(subject).issue(answers=_changed(subject, change)), secrets, f"for {what}")
    yield from _leaks(Trial(subject).issue(fault=IssuerUnavailable("no answer")), secrets, "after a timeout")


def _revokes(subject: Subject) -> Iterator[str]:
    """Of a value that could not be taken back nobody says that it was, and no error shows it."""
    trial = Trial(subject)
    revoke = getattr(trial.provider, "revoke", None)
    if revoke is None:
        raise NotApplicable("it has no revoke")
    value = issued(trial.issue())
    texts = [*subject.secrets.values(), *revealed(value)]
    faults: dict[str, HttpResponse | CredbrokerError] = {
        "a timeout": IssuerUnavailable("no answer"),
        "HTTP 503": answer(" ".join(texts).encode(), 503),
    }
    for name, fault in faults.items():
        outcome = trial.call(lambda context: revoke(value, subject.asked, context), fault=fault)
        if outcome.error is not None and not isinstance(outcome.error, CredbrokerError):
            yield f"after {name} it raised {type(outcome.error).__name__}"
        if getattr(outcome.value, "revoked", False):
            yield f"after {name} it says that the value is revoked"
        yield from _leaks(outcome, forms(texts), f"after {name}")


def _leaks(outcome: Outcome, secrets: frozenset[str], when: str) -> Iterator[str]:
    if shown(outcome.seen.said, secrets):
        yield f"{when} it logs, warns or prints a secret or what it received"
    for place, text in surfaces(outcome.error) if outcome.error is not None else ():
        if shown(text, secrets):
            yield f"{when} a secret or what was received is in {place}"
            return


def _requests(subject: Subject) -> int:
    """How many requests one issue takes."""
    outcome = Trial(subject).issue()
    issued(outcome)
    if not outcome.sent:
        raise NotApplicable("it asks nobody")
    return len(outcome.sent)


def _ended(outcome: Outcome) -> str:
    return f"raised {type(outcome.error).__name__}" if outcome.error is not None else "returned a value"


CHECKS = (
    Check("issue asks once", 2, _asks_once),
    Check("an issuer that is down is IssuerUnavailable", 6, _says_unavailable),
    Check("an issuer that says no is IssueDenied", 6, _says_refused),
    Check("the transport's errors pass", 6, _passes_the_transports_errors),
    Check("garbage is MalformedResponse", 6, _refuses_garbage),
    Check("an odd answer is a value or an error of credbroker's", 6, _survives_odd_answers),
    Check("no error shows a secret", 7, _errors_show_nothing),
    Check("revoke says what it could not do", 6, _revokes),
)
