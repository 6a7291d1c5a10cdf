"""google-auth, in its default way and with its refresh in the background."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc"
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks.contender import Call, Contender, Issuer, State

_LEFT = {State.WARM: 3600, State.DUE: 200, State.COLD: -1}
"""Seconds left; google-auth takes a token for stale when 225 s are left."""


class _NoTransport:
    """Stands where a transport is asked for; the token comes from the refresh handler. A class, for it is copied deeply."""

    def __call__(self, *_: object, **__: object) -> object:
        raise AssertionError("nothing is sent")


def _naive_utc(seconds: float) -> datetime:
    """google-auth reckons in UTC without saying so."""
    return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)


def _before_request(*, background: bool) -> Callable[[Issuer, State], Call]:
    def make(issuer: Issuer, state: State) -> Call:
        from google.oauth2.credentials import Credentials

        def handler(request: object, scopes: object) -> tuple[str, datetime]:
            return issuer(), _naive_utc(3600)

        credentials = Credentials(
            token=None if state is State.COLD else "token-0",
            expiry=_naive_utc(_LEFT[state]),
            refresh_handler=handler,
            scopes=["all"],
        )
        if background:
            credentials.with_non_blocking_refresh()
        transport = _NoTransport()

        def get() -> object:
            headers: dict[str, str] = {}
            credentials.before_request(transport, "GET", "https://storage.example/object", headers)
            return headers

        return Call(get)

    return make


_ALL = frozenset(State)
CONTENDERS = (
    Contender("google-auth before_request", _before_request(background=False), _ALL, "google.auth"),
    Contender("google-auth before_request, non-blocking", _before_request(background=True), _ALL, "google.auth"),
)
