"""What a secret backend is held to: one call in its author's own tests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpResponse
from credbroker.errors import CredbrokerError, IssuerUnavailable

if TYPE_CHECKING:
    from credbroker.secrets.backend import Backend
    from credbroker.testing.trial import Answers

_ABSENT = "credbroker-absent"
_ROTATED = "rotated-canary-0123456789"


def check_backend(
    backend: Callable[[], Backend],
    *,
    name: str,
    answers: Callable[[dict[str, str]], Answers],
    logins: Collection[str] = (),
) -> tuple[str, ...]:
    """Hold a secret backend to the contract of the seam. Nothing leaves the process.

    ``backend`` makes one. ``answers`` takes the secrets that the place holds, by name, and returns the place itself: called
    with each request and the time, it returns the answer. ``name`` is a secret that the backend looks for there, ``logins``
    are the secrets that it logs in with, which are looked for in every text too.

    Raises one ``AssertionError`` that lists every check that failed; returns the names of those that passed.
    """
    from credbroker.secrets.backend import Lookup
    from credbroker.secrets.reference import SecretReference
    from credbroker.testing.doubles import ManualClock, answer
    from credbroker.testing.leaks import forms, shown, surfaces
    from credbroker.testing.trial import FLIGHT, Issuer
    from credbroker.testing.watching import Seen, watched

    first = "first-canary-0123456789"
    secrets = forms((first, _ROTATED, *logins))
    made = backend()
    shows: list[str] = []

    def look(at: str, held: dict[str, str], fault: HttpResponse | CredbrokerError | None = None) -> tuple[object, Seen]:
        clock = ManualClock()
        issuer = Issuer(clock, answers(held), fault=fault)
        result: object
        with watched() as seen:
            try:
                result = made.look(
                    SecretReference(secret_ref=at), Context(clock=clock, http=issuer, remaining=lambda: FLIGHT)
                )
            except Exception as error:  # noqa: BLE001 - what it raises is what is judged
                result = error
        if issuer.broke is not None:
            raise issuer.broke
        texts = [seen.said, repr(result)]
        if isinstance(result, Exception):
            texts.extend(text for _, text in surfaces(result))
        shows.extend(text for text in (*texts, repr(made), repr(getattr(made, "__dict__", ""))) if shown(text, secrets))
        return result, seen

    def value(result: object) -> str | None:
        return result.secret.get_secret_value() if isinstance(result, Lookup) and result.secret is not None else None

    found, _ = look(name, {name: first})
    rotated, seen = look(name, {name: _ROTATED})
    absent, _ = look(_ABSENT, {name: first})
    down, _ = look(name, {name: first}, IssuerUnavailable("no answer"))
    refused, _ = look(name, {name: first}, answer({"echo": [first, *logins]}, 403))
    verdicts = {
        "a secret that is there is found": value(found) == first,
        "a rotated secret is seen at once: nothing is kept": value(rotated) == _ROTATED,
        "a secret that is absent is a Lookup without one, which says where": isinstance(absent, Lookup)
        and absent.secret is None
        and bool(absent.place),
        "a place that cannot tell raises IssuerUnavailable, and is not taken for one without the secret": isinstance(
            down, IssuerUnavailable
        ),
        "a place that says no raises an error of credbroker's": isinstance(refused, CredbrokerError),
        "only the context is touched": not seen.touched,
        "no secret is in a repr, a log, a warning, output or an error": not shows,
    }
    failed = [verdict for verdict, holds in verdicts.items() if not holds]
    if failed:
        listed = "\n  - ".join(failed)
        raise AssertionError(
            f"{type(made).__name__} breaks the contract of a secret backend (docs/write-a-provider.md):\n  - {listed}"
        )
    return tuple(verdicts)
