"""databricks-sdk: its token source, in its default way and with its refresh in the background."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc"
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from benchmarks.contender import Call, Contender, Issuer, State

_LEFT = {State.WARM: 60, State.DUE: 10}
"""Minutes left."""
_STALE = timedelta(minutes=20)


def _token(*, background: bool) -> Callable[[Issuer, State], Call]:
    def make(issuer: Issuer, state: State) -> Call:
        from databricks.sdk.oauth import Refreshable, Token

        def issued(text: str, minutes: int) -> Token:
            return Token(text, "Bearer", None, datetime.now() + timedelta(minutes=minutes))  # noqa: DTZ005 - its own way

        class Source(Refreshable):
            def refresh(self) -> Token:
                return issued(issuer(), 60)

        held = None if state is State.COLD else issued("token-0", _LEFT[state])
        return Call(Source(held, disable_async=not background, stale_duration=_STALE).token)

    return make


_ALL = frozenset(State)
CONTENDERS = (
    Contender("databricks-sdk Refreshable.token", _token(background=False), _ALL, "databricks.sdk"),
    Contender("databricks-sdk Refreshable.token, async", _token(background=True), _ALL, "databricks.sdk"),
)
