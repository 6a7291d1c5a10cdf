"""Binding: one name of ``sidecar.bindings``, with the live handle that it stands for, and what was counted of it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from credbroker import limits
from credbroker.broker import Broker
from credbroker.config.settings import BindingSettings
from credbroker.context import Clock
from credbroker.credentials import Credential
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable
from credbroker.request import CredentialRequest
from credbroker.source import CredentialSource
from credbroker.status import entry
from credbroker.wire.expiry import zulu

logger = logging.getLogger("credbroker.sidecar")

_HOUR = 3600.0
_MOST_ISSUES = 10_000
_ABSENT: dict[str, object] = {
    **dict.fromkeys(("table", "access", "expires_at", "refresh_in", "fingerprint")),
    "state": "absent",
    "failures": 0,
}


class Binding:
    """A handle that is refreshed whether or not anybody asks, and what was counted of it."""

    def __init__(self, settings: BindingSettings, broker: Broker, source: CredentialSource[Any]) -> None:
        self.settings = settings
        self.name = settings.name
        self.answers: dict[tuple[str, int], int] = {}
        """How often each protocol answered with each status."""
        self.issues = 0
        self.on_change: Callable[[Credential], None] | None = None
        """Told of each new value, from the thread that issued it: the file sink."""
        self._issued_at: deque[float] = deque(maxlen=_MOST_ISSUES)
        self._broker = broker
        self._source = source
        self._lock = threading.Lock()
        self._unpin: Callable[[], None] | None = None
        self.files_written = False
        self.files_fault: str | None = None
        """What went wrong with the files of the latest value, or with telling of them. No secret."""
        self._in_trouble = False
        self._seen: tuple[str, datetime] | None = None
        self._handed: tuple[str, set[frozenset[tuple[str, object]]]] = ("", set())

    @property
    def request(self) -> CredentialRequest:
        """What is asked for, with the scopes that its profile makes of it."""
        request = self._source.request
        if request.kind not in ("catalog", "compute"):
            return request
        profile = self._broker.profile(request.kind, request.profile)
        return replace(request, scopes=limits.asked_scopes(request, profile))

    @property
    def identity(self) -> object:
        """What its values are issued for: equal for as long as neither the request nor its profile says something else."""
        return self._source._attached().key  # noqa: SLF001

    def pin(self) -> None:
        """Have the first value issued in the background now, and each further one before its predecessor ends."""
        if self._unpin is None:
            self._unpin = self._source.on_refresh(self._issued, now=True)
            self.push_held()

    def release(self) -> None:
        """Refresh it no more."""
        if self._unpin is not None:
            self._unpin()
            self._unpin = None

    async def value(self) -> Credential:
        """The current value. Raises what its issue raised."""
        value: Credential = await self._source.aget()
        return value

    def told_end(self, value: Credential) -> datetime | None:
        """The end that a client is told, as its source says it, in whole seconds.

        The next one: cut off, the last second of a value that is still handed out would be told as past, and
        SDKs refuse what they are told is over. What is never used of a value that lives for three seconds or more is longer
        than that second.
        """
        end = self._source.told_end(value)
        if end is None or end.microsecond == 0:
            return end
        return end.replace(microsecond=0) + timedelta(seconds=1)

    def now(self) -> datetime:
        return self._clock.now()

    def hand_over(self, value: Credential, delivery: Mapping[str, object]) -> None:
        """Put on record that a reader is handed the value: once for each reader and value, however often it asks.

        Raises ``IssuerUnavailable`` where that must be on record and cannot be: the reader gets nothing.
        """
        fingerprint, reader = value.fingerprint, frozenset(delivery.items())
        # The file sink hands over from the issuer's thread: of two values, one's record must not stand for the other's.
        with self._lock:
            if fingerprint != self._handed[0]:
                self._handed = (fingerprint, set())
            if reader in self._handed[1]:
                return
            self._broker._brokerage.trail.delivered(  # noqa: SLF001
                self._source.request, value, {"binding": self.name, **delivery}
            )
            self._handed[1].add(reader)

    def count(self, protocol: str, status: int) -> None:
        self.answers[protocol, status] = self.answers.get((protocol, status), 0) + 1

    @property
    def state(self) -> str:
        """``fresh``, ``stale``, ``expired`` or ``absent``."""
        try:
            return str(self._entry()["state"])
        except CredbrokerError:  # its profile allows it no more, and the reload that says so is under way
            return "absent"

    @property
    def is_ready(self) -> bool:
        """Whether a value is held that may still be handed out, and lies in the files where there are any."""
        return self._holds and (self.files_written or not self.settings.files)

    @property
    def _holds(self) -> bool:
        return self.state in ("fresh", "stale")

    def lasting_fault(self, *, final: bool) -> CredbrokerError | None:
        """Why it will not get ready by itself; ``final``: why it is not ready."""
        failure = self._failure()
        if failure is not None and (final or not failure.retryable):
            return failure.fresh()
        if self.files_fault is not None:
            return ConfigurationError(f"{self.name}: {self.files_fault}")
        return IssuerUnavailable("nothing was issued in time", profile=self.request.profile) if final else None

    def tell_trouble(self) -> None:
        """Log, once each, that the latest issue failed, and that one has succeeded again. Held values serve meanwhile."""
        failure = self._failure()
        if failure is not None and not self._in_trouble:
            logger.warning("binding %s: %s: %s", self.name, type(failure).__name__, failure)
        elif failure is None and self._in_trouble:
            logger.warning("binding %s: issued again", self.name)
        self._in_trouble = failure is not None

    def _failure(self) -> CredbrokerError | None:
        try:
            found = self._source._attached().failure  # noqa: SLF001
        except CredbrokerError as error:
            found = error  # its profile allows it no more
        return found if isinstance(found, CredbrokerError) else None

    def report(self) -> dict[str, object]:
        """What ``/status`` tells of it. No secret."""
        now = self._clock.elapsed()
        try:
            known, instants = self._entry(), self._source._attached().instants  # noqa: SLF001
        except CredbrokerError as error:
            known, instants = {**_ABSENT, "error": f"{type(error).__name__}: {error}"}, None
        ended = known["expires_at"]
        settings, request = self.settings, self._source.request
        return {
            "name": self.name,
            "kind": request.kind,
            "profile": request.profile,
            "locations": [str(location) for location in request.locations],
            "table": known["table"],
            "access": known["access"],
            "protocols": list(settings.protocols),
            "files": [file.path for file in settings.files],
            "files_fault": self.files_fault,
            "state": known["state"],
            "expires_at": zulu(ended) if isinstance(ended, datetime) else None,
            "life": _finite(instants.usable_life) if instants is not None else None,
            "left": _finite(max(0.0, instants.usable_until - now)) if instants is not None else None,
            "refresh_in": known["refresh_in"],
            "issues": self.issues,
            "issues_last_hour": sum(1 for at in tuple(self._issued_at) if now - at < _HOUR),
            "answers": sum(n for (_, status), n in tuple(self.answers.items()) if status == 200),
            "refusals": sum(n for (_, status), n in tuple(self.answers.items()) if status != 200),
            "failures": known["failures"],
            "error": known["error"],
            "error_at": self._error_at(known["error"]),
            "fingerprint": known["fingerprint"],
        }

    def _entry(self) -> dict[str, object]:
        return entry(self._broker._brokerage, self._source._attached())  # noqa: SLF001

    @property
    def _clock(self) -> Clock:
        return self._broker._brokerage.context.clock  # noqa: SLF001

    def push_held(self) -> None:
        # A binding that a reload has changed may find a value there, and the next one is issued an hour later.
        held = self._source._attached().held[0]  # noqa: SLF001
        if held is not None and self._holds and self.on_change is not None:
            self.on_change(held)

    def _issued(self, value: Credential) -> None:
        self.issues += 1
        self._issued_at.append(self._clock.elapsed())
        if self.on_change is not None:
            self.on_change(value)

    def _error_at(self, error: object) -> str | None:
        """When an error was first seen: nothing is told of a failed issue, so it is dated when somebody looks."""
        if error is None:
            self._seen = None
            return None
        if self._seen is None or self._seen[0] != error:
            self._seen = (str(error), self._clock.now())
        return zulu(self._seen[1])


def source_of(broker: Broker, settings: BindingSettings) -> CredentialSource[Any]:
    """The handle of a binding. Raises ``ConfigurationError`` and ``AccessDenied``, without any I/O."""
    match settings.kind:
        case "storage":
            return broker.storage(settings.profile, *settings.locations, access=settings.access)
        case "table" if settings.table is not None:
            return broker.table(settings.profile, settings.table, access=settings.access)
        case "catalog":
            return broker.catalog(settings.profile, scope=settings.scope, audience=settings.audience)
        case _:
            return broker.compute(settings.profile)


def bindings_of(broker: Broker, wanted: Mapping[str, BindingSettings], before: Mapping[str, Binding]) -> dict[str, Binding]:
    """The bindings of a configuration; those that say what they said before are the same objects.

    Raises one ``ConfigurationError`` with a line for each that its profile does not allow, or that cannot issue.
    """
    made: dict[str, Binding] = {}
    faults: list[str] = []
    for name, settings in wanted.items():
        known = before.get(name)
        if known is not None and known.settings == settings:
            made[name] = known
            continue
        try:
            made[name] = Binding(settings, broker, source_of(broker, settings))
        except CredbrokerError as error:
            faults.append(f"{settings.where or f'sidecar.bindings.{name}'}: {error}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    return made


def _finite(seconds: float) -> float | None:
    return round(seconds, 3) if seconds < timedelta.max.total_seconds() else None
