"""CredentialSource: the live handle. It holds its slot; a hit is one tuple read and one comparison."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.location import Location
from credbroker.providers import Grant
from credbroker.refresh.engine import GONE
from credbroker.refresh.policy import guard
from credbroker.refresh.slot import Slot
from credbroker.request import Access, CredentialRequest
from credbroker.system.clock import elapsed as _elapsed

if TYPE_CHECKING:
    from credbroker.broker import Broker

logger = logging.getLogger("credbroker.refresh")

Value = TypeVar("Value")
_UNATTACHED = Slot(None)


class CredentialSource(Generic[Value]):
    """A handle on one credential: ``get()`` gives a value that is good now, each time it is called.

    It pickles as a reference: the configuration's fingerprint and the request, nothing secret.
    """

    __slots__ = ("__weakref__", "_broker", "_slot", "request")

    def __init__(self, broker: Broker, request: CredentialRequest) -> None:
        self._broker = broker
        self._slot = _UNATTACHED
        self.request = request

    def get(self, min_ttl: timedelta | None = None, wait: bool = False) -> Value:
        """The current value, issued or refreshed as needed; blocks only while there is none that is still good.

        ``min_ttl`` demands that much usable life. ``wait``: at a value that is due for its refresh, wait for the new one
        instead of serving the held one at once (if the refresh fails, the held one is served): for clients that open
        something long and keep its keys.

        Raises what the issue raised (``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``, ``SecretNotFound``),
        ``InsufficientLifetime`` below ``min_ttl``, ``AccessDenied`` and ``ConfigurationError`` where the profile has
        changed, ``BrokerClosed``.
        """
        # The hit: no lock, no call but the clock's. Keyword-only parameters would cost a tenth of it.
        slot = self._slot
        value, decide_at = slot.held
        if min_ttl is None and _elapsed() < decide_at and not wait:
            slot.used = True
            return value  # type: ignore[no-any-return]
        return self._get(min_ttl, wait)

    async def aget(self, min_ttl: timedelta | None = None, wait: bool = False) -> Value:
        """As ``get``, without blocking the event loop. Cancelling it cancels nobody else's wait."""
        slot = self._slot
        value, decide_at = slot.held
        if min_ttl is None and _elapsed() < decide_at and not wait:
            slot.used = True
            return value  # type: ignore[no-any-return]
        demand = _seconds(min_ttl)
        while True:  # here and not in a coroutine of its own: ten thousand waiters would each hold one more
            got: Any = await self._broker._brokerage.engine.aget(self._attached(), demand, wait, self.request)  # noqa: SLF001
            if got is not GONE:
                return got  # type: ignore[no-any-return]

    def invalidate(self, value: Value) -> bool:
        """Say that a server refused ``value``: it is dropped if it is still the current one.

        True: a new ``get`` may bring another one. False: the issuer was asked a moment ago for this reason, so do not try
        again (at most one issue in 30 s, doubling to 5 min).
        """
        return self._broker._brokerage.engine.invalidate(self._attached(), value)  # type: ignore[arg-type]  # noqa: SLF001

    def on_refresh(self, callback: Callable[[Value], None], *, now: bool = False) -> Callable[[], None]:
        """Call ``callback(value)`` with each new value, from the thread that issued it, for clients that must be pushed to.

        Once there is a value it is refreshed whether or not anybody gets it. ``now``: the first one is issued in the
        background at once; without it nothing is before the first ``get``. Call what is returned to end that.
        """
        return _Push(self, callback, now=now).stop

    def remaining(self, value: Value) -> timedelta | None:
        """How much longer ``value`` is handed out, at least nothing; None for a value without an end.

        Counted by a clock that never jumps, so that a client can be told an end that holds by its own clock: the wall's time
        plus this. It is a little less than the value lives: servers count whole seconds, and requests travel.
        """
        expires_at: datetime | None = value.expires_at  # type: ignore[attr-defined]
        if expires_at is None:
            return None
        clock, slot = self._broker._brokerage.context.clock, self._slot  # noqa: SLF001
        instants = slot.instants
        if instants is not None and slot.held[0] is value:
            left = instants.usable_until - clock.elapsed()
        else:  # it has been replaced meanwhile
            left = (expires_at - clock.now()).total_seconds()
            left -= guard(left)
        return timedelta(seconds=max(left, 0.0))

    def told_end(self, value: Value) -> datetime | None:
        """The end to tell a client of ``value``: the wall's time plus what is ``remaining``. None: it has none."""
        left = self.remaining(value)
        return None if left is None else self._broker._brokerage.context.clock.now() + left  # noqa: SLF001

    def explain(self) -> Grant:
        """What would be granted: ``.policy``, ``.locations`` and ``.access``. Nothing is issued, and no secret is looked at.

        ``policy`` is the session policy, the access boundary or the SAS's fields, as a dict; None where none narrows it.
        Raises ``AccessDenied`` and ``ConfigurationError``.
        """
        return self._broker._brokerage.explain(self.request)  # noqa: SLF001

    def downscope(self, *locations: str | Location, access: Access | str | None = None) -> CredentialSource[Value]:
        """A handle for less: some of these locations or what lies below them, and the same access or part of it.

        What it gets is issued anew, with a policy of its own. Raises ``AccessDenied`` for anything beyond this handle, and
        ``ConfigurationError`` where no issuer would enforce it: a table's credentials are its catalog's to narrow, a static
        secret reaches what it reaches.
        """
        return self._broker._downscoped(self.request, locations, access)  # noqa: SLF001

    def _get(self, min_ttl: timedelta | None, wait: bool) -> Value:
        demand = _seconds(min_ttl)
        while True:
            got: Any = self._broker._brokerage.engine.get(self._attached(), demand, wait, self.request)  # noqa: SLF001
            if got is not GONE:
                return got  # type: ignore[no-any-return]

    def _attached(self) -> Slot:
        """The live slot. On one that was cleared, the profile's limits and settings are checked anew."""
        slot = self._slot
        if not slot.live:
            slot = self._slot = self._broker._found(self.request)  # noqa: SLF001
        return slot

    def __repr__(self) -> str:
        request = self.request
        what = ".".join(request.table) if request.table else " ".join(str(location) for location in request.locations)
        access = f" {request.access.value}" if request.access else ""
        return f"<CredentialSource {request.kind} {request.profile}{access}{' ' + what if what else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (self._broker, self.request))


class ClockedSource(CredentialSource[Value]):
    """The twin for a clock that is not the system's: reading an injected clock is no part of the hit path."""

    __slots__ = ()

    def get(self, min_ttl: timedelta | None = None, wait: bool = False) -> Value:
        return self._get(min_ttl, wait)

    async def aget(self, min_ttl: timedelta | None = None, wait: bool = False) -> Value:
        demand = _seconds(min_ttl)
        while True:
            got: Any = await self._broker._brokerage.engine.aget(self._attached(), demand, wait, self.request)  # noqa: SLF001
            if got is not GONE:
                return got  # type: ignore[no-any-return]


class _Push(Generic[Value]):
    """One callback of ``on_refresh``. The slot holds it, and it the source, for as long as it is to be called."""

    __slots__ = ("_callback", "_slot", "_source", "_stopped")

    def __init__(self, source: CredentialSource[Value], callback: Callable[[Value], None], *, now: bool) -> None:
        self._source = source
        self._callback = callback
        self._stopped = False
        self._listen(issued=now)

    def refreshed(self, value: Any) -> None:
        if not self._stopped:
            self._callback(value)

    def reattach(self) -> None:
        """The slot was purged: go on with the next one, as far as the profile still allows it."""
        if not self._stopped:
            try:
                self._listen(issued=True)
            except CredbrokerError as error:
                logger.warning("a callback of on_refresh ends with %s", type(error).__name__)

    def stop(self) -> None:
        self._stopped = True
        self._source._broker._brokerage.engine.unlisten(self._slot, self)  # noqa: SLF001

    def _listen(self, *, issued: bool) -> None:
        self._slot = self._source._attached()  # noqa: SLF001
        self._source._broker._brokerage.engine.listen(self._slot, self, issued=issued)  # noqa: SLF001


def _seconds(min_ttl: timedelta | None) -> float | None:
    if min_ttl is None:
        return None
    if not isinstance(min_ttl, timedelta):
        raise ConfigurationError(f"min_ttl is a timedelta, such as timedelta(minutes=30), not {type(min_ttl).__name__}")
    return min_ttl.total_seconds()


def _rebuilt(broker: Broker, request: CredentialRequest) -> CredentialSource[Any]:
    return broker._source(request)  # noqa: SLF001
