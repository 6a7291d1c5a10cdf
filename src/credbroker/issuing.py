"""One issue, from request to value: on record, asked of the provider, granted within what was asked, on record again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from credbroker.audit.trail import Trail
from credbroker.context import Clock, Connection, Context, Http, HttpRequest, HttpResponse
from credbroker.credentials import Credential, ending_at
from credbroker.errors import CredbrokerError, IssuerUnavailable
from credbroker.granting import check_grant
from credbroker.profile import Profile
from credbroker.refresh.slot import Loaded
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from credbroker.providers import Provider


class AnchoredClock:
    """A clock whose wall time does not jump: anchored once, it goes on by elapsed time.

    A provider that adds a lifetime to ``now()`` and the engine that subtracts the wall time of the start thus mean the same
    wall, whatever an operator or NTP does to it in between.
    """

    __slots__ = ("_clock", "_started", "_wall")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.elapsed()
        self._wall = clock.now()

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._clock.elapsed() - self._started)

    def elapsed(self) -> float:
        return self._clock.elapsed()


class _TimedHttp:
    """The transport with its answers timed by the anchored clock, so that no wall time of another source comes in."""

    __slots__ = ("_check", "_clock", "_http")

    def __init__(self, http: Http, clock: Clock, check: Callable[[], None] | None) -> None:
        self._http = http
        self._clock = clock
        self._check = check

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        if self._check is not None:
            self._check()
        sent = self._clock.now()
        response = self._http.send(request, timeout=timeout, allow_insecure=allow_insecure, on_connection=on_connection)
        return replace(response, sent=sent, received=self._clock.now())


def issue(
    request: CredentialRequest,
    profile: Profile,
    provider: Provider,
    *,
    context: Context,
    trail: Trail,
    deadline: float,
    get: Callable[[CredentialRequest], Credential],
    base: Callable[[str], Credential],
    drop: Callable[[str, Credential], bool],
    invalidate: Callable[[CredentialRequest, Credential], bool],
    check: Callable[[], None] | None = None,
) -> Loaded:
    """Issue once. Raises a ``CredbrokerError``; then nothing is held and the trail says why.

    ``check`` raises where this flight is nobody's any more: then nothing more is sent.
    """
    clock = AnchoredClock(context.clock)
    settings = profile.credentials
    mode = "catalog" if request.kind == "table" else settings.mode if settings else type(provider).__name__
    record = trail.begin(request, mode)
    sent, wall = clock.elapsed(), clock.now()
    try:
        flight = replace(
            in_flight(context, clock, profile, deadline, check),
            get=get,
            base=base,
            drop=drop,
            invalidate=invalidate,
            on_connection=record.connected,
        )
        value = provider.issue(request, flight)
        check_grant(request, profile, value)
    except CredbrokerError as error:
        known = error.fresh(profile=profile.name, provider=mode)
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        known = IssuerUnavailable(
            f"the provider {mode!r} failed with {type(error).__name__}", profile=profile.name, provider=mode, retryable=False
        )
    else:
        latest = clock.now() + profile.max_ttl
        # What narrower credentials are made of reaches nobody outside; each of them ends by max_ttl.
        if value.expires_at is not None and value.expires_at > latest and request.base is None:
            value = ending_at(value, latest)
        record.issued(value)
        lifetime = (value.expires_at - wall).total_seconds() if value.expires_at is not None else None
        reread = settings.reread_interval.total_seconds() if settings else 60.0
        return Loaded(value, sent, lifetime, reread)
    record.ended(known)
    raise known


def in_flight(
    context: Context, clock: Clock, profile: Profile, deadline: float, check: Callable[[], None] | None = None
) -> Context:
    """The context of one flight for a profile: its clock, its deadline (elapsed seconds), and secrets found within that."""
    flight = replace(
        context,
        clock=clock,
        http=_TimedHttp(context.http, clock, check),
        profile=profile,
        remaining=lambda: max(0.0, deadline - clock.elapsed()),
    )
    # An embedder's own resolver may know of no deadline.
    within = getattr(context.secrets, "within", None)
    return flight if within is None else replace(flight, secrets=within(flight))
