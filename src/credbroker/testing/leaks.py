"""Where a secret could have gone: texts, tracebacks, and whatever a provider still holds."""

from __future__ import annotations

import base64
import dataclasses
import gc
import sys
import traceback
import types
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator
from types import TracebackType

SHORTEST = 8
"""Characters. What is shorter is found everywhere by chance."""
_MOST = 20_000  # objects that are looked at
_OWN = __name__.rpartition(".")[0]
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


def revealed(value: object) -> Iterator[str]:
    """The secret texts of a credential value: they are its own, and nobody else's."""
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        part = getattr(value, field.name)
        secret = part.get_secret_value() if hasattr(part, "get_secret_value") else None
        if isinstance(secret, str):
            yield secret
        elif isinstance(part, tuple):
            for _, inner in (pair for pair in part if isinstance(pair, tuple) and len(pair) == 2):
                yield from revealed(inner)


def forms(secrets: Iterable[str]) -> frozenset[str]:
    """Each secret as it is, and in the codings in which one travels."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) < SHORTEST:
            continue
        raw = secret.encode()
        whole = len(raw) - len(raw) % 3  # how the rest is coded depends on what follows it
        found |= {
            secret,
            repr(secret)[1:-1],
            base64.b64encode(raw[:whole]).decode(),
            base64.urlsafe_b64encode(raw[:whole]).decode(),
            raw.hex(),
            urllib.parse.quote(secret, safe=""),
            urllib.parse.quote_plus(secret),
        }
    return frozenset(found)


def shown(text: str, secrets: frozenset[str]) -> bool:
    """Whether one of the forms stands in the text."""
    return any(secret in text for secret in secrets)


def surfaces(error: BaseException) -> Iterator[tuple[str, str]]:
    """What an error shows to a log, an error tracker and a debugger: where, and the text."""
    linked: list[BaseException] = [error]
    seen: set[int] = set()
    while linked:
        one = linked.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield "the error's text", "".join(traceback.format_exception_only(one)) + repr(one) + repr(one.args)
        yield "the error's fields", repr(vars(one))
        yield from ((f"a local of {where}", text) for where, text in _locals(one.__traceback__))
        linked.extend(other for other in (one.__cause__, one.__context__) if other is not None)


def _locals(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    """The locals of each frame but ours."""
    while trace is not None:
        frame = trace.tb_frame
        if not str(frame.f_globals.get("__name__", "")).startswith(_OWN):
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_name}(), {name!r}", _text(value)
        trace = trace.tb_next


def _text(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - an object that is half made has no repr
        return ""


def holdings(provider: object) -> list[object]:
    """Where a provider could keep things: itself, its class, its module."""
    kinds = [kind for kind in type(provider).__mro__ if kind.__module__ not in ("builtins", "typing", "abc")]
    modules = [sys.modules[kind.__module__] for kind in kinds if kind.__module__ in sys.modules]
    places: list[object] = [provider]
    for names in (*(vars(kind) for kind in kinds), *(vars(module) for module in modules)):
        # functools.cache makes a wrapper of its own, and not a function.
        places.extend(held for name, held in names.items() if not name.startswith("__") and not isinstance(held, _CODE))
    return places


def held(places: Collection[object], wanted: Callable[[object], bool]) -> dict[int, object]:
    """What is ``wanted`` and can be reached from ``places`` without going through code, by its id.

    It is kept alive: of what is gone, something new may take the id.
    """
    seen: dict[int, object] = {}
    ahead = list(places)
    while ahead and len(seen) < _MOST:
        thing = ahead.pop()
        if id(thing) not in seen and not isinstance(thing, _CODE):
            seen[id(thing)] = thing
            ahead.extend(gc.get_referents(thing))
    return {name: thing for name, thing in seen.items() if wanted(thing)}
