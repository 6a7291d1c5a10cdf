"""cachetools: what one writes oneself in an afternoon."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc"
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from benchmarks.contender import Call, Contender, Issuer, State


def _decorated(**guard: Callable[[], Any]) -> Callable[[Issuer, State], Call]:
    def make(issuer: Issuer, state: State) -> Call:
        from cachetools import TTLCache, cached

        guards = {name: new() for name, new in guard.items()}

        @cached(TTLCache(1024, 3600), key=lambda: ("profile", "scope"), **guards)
        def get() -> str:
            return issuer()

        if state is State.WARM:
            get()
        return Call(get)

    return make


_STATES = frozenset({State.WARM, State.COLD})
CONTENDERS = (
    Contender("cachetools @cached(lock=)", _decorated(lock=threading.Lock), _STATES, "cachetools"),
    Contender("cachetools @cached(condition=)", _decorated(condition=threading.Condition), _STATES, "cachetools"),
)
