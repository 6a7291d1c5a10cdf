"""Brokerage: what all views of one broker share, and the way from a request to its slot."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from credbroker import attachment, limits, providers
from credbroker.audit.log import LogSink
from credbroker.audit.trail import Trail
from credbroker.context import NO_CLOCK, Context
from credbroker.credentials import Credential
from credbroker.errors import AccessDenied, BrokerClosed, ConfigurationError, CredbrokerError
from credbroker.issuing import issue
from credbroker.profile import CatalogProfile, Profile, StorageProfile
from credbroker.providers.requirements import check_profile, misconfigured
from credbroker.refresh.engine import GONE, Engine
from credbroker.refresh.flight import Flight
from credbroker.refresh.slot import Loaded, Slot
from credbroker.request import CredentialRequest, Kind
from credbroker.system import log_filter
from credbroker.system.clock import SystemClock

if TYPE_CHECKING:
    from credbroker.config import Platform

_SECTIONS: dict[Kind, str] = {"catalog": "catalogs", "table": "catalogs", "storage": "storage", "compute": "compute"}


class Admitted(NamedTuple):
    """A request that its profile allows, with who issues for it and what that would grant (None: it does not say)."""

    request: CredentialRequest
    profile: Profile
    provider: providers.Provider
    grant: providers.Grant | None


class Brokerage:
    """One configuration's profiles, providers, context, audit trail and engine."""

    def __init__(self, platform: Platform, given: Mapping[str, providers.Provider] | None, context: Context | None) -> None:
        self.platform = platform
        self.reference = attachment.Reference(
            os.urandom(16).hex(), attachment.absolute(platform.paths), platform.fingerprint
        )
        context = _real_context(platform) if context is None else context
        self.injected_clock = context.clock is not NO_CLOCK
        self.context = context if self.injected_clock else replace(context, clock=SystemClock())
        self.trail = self._trail()
        self._providers: dict[str, providers.Provider] = dict(given or {})
        self._fingerprints: dict[tuple[str, str], str] = {}
        self._chains = threading.local()
        self._closed = False
        self.engine = Engine(self.context.clock, background=not self.injected_clock, on_retired=self._retired)
        log_filter.install()
        attachment.register(self)

    def _trail(self) -> Trail:
        audit = self.platform.audit
        return Trail(
            self.context.clock,
            LogSink(always=audit.required) if audit.enabled else None,
            include=audit.include,
            required=audit.required,
            environment=self.platform.environment,
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            attachment.forget(self)
            self.engine.close()
            log_filter.uninstall()

    # -- from a request to its slot ------------------------------------------------------------------------------------

    def profile(self, kind: Kind, name: str) -> Profile:
        """Raises ``ConfigurationError`` that says where that name does exist: sections are never searched across."""
        sections: dict[str, Mapping[str, Profile]] = {
            "catalogs": self.platform.catalogs,
            "storage": self.platform.storage,
            "compute": self.platform.compute,
        }
        section = _SECTIONS[kind]
        profile = sections[section].get(name)
        if profile is not None:
            return profile
        elsewhere = [other for other, profiles in sections.items() if name in profiles]
        hint = (
            f"it exists under {' and '.join(elsewhere)}"
            if elsewhere
            else f"there are: {', '.join(sorted(sections[section])) or 'none'}"
        )
        raise ConfigurationError(f"no profile {name!r} under {section}; {hint}", profile=name)

    def admit(self, request: CredentialRequest) -> Admitted:
        """Check a request against its profile's limits and settings, without any I/O.

        Raises ``BrokerClosed``, ``AccessDenied`` (on record) and ``ConfigurationError``.
        """
        if self._closed:
            raise BrokerClosed("the broker is closed: make a new one with Broker.from_yaml()")
        profile = self.profile(request.kind, request.profile)
        provider = self._provider(request, profile)
        request = replace(request, principal=self.platform.principal)
        try:
            request = limits.within(request, profile)
        except AccessDenied as error:
            self.trail.refused(request, error)
            raise error.fresh() from None
        if self.platform.audit.enabled and self.platform.audit.sink != "log":
            sink = self.platform.audit.sink
            raise ConfigurationError(f"audit.sink {sink!r} is not supported by this version of credbroker yet: use 'log'")
        check_profile(profile)
        plan = getattr(provider, "plan", None)
        return Admitted(request, profile, provider, None if plan is None else plan(request, profile))

    def explain(self, request: CredentialRequest) -> providers.Grant:
        """What would be granted. Raises as ``admit`` does, and ``ConfigurationError`` for a provider that does not say."""
        admitted = self.admit(request)
        if admitted.grant is None:
            raise ConfigurationError(
                "its provider does not say what it would grant: give it a plan()", profile=request.profile
            )
        return admitted.grant

    def slot(self, request: CredentialRequest) -> Slot:
        """The live slot for a request. What differs in authority differs in key: settings, principal, actor."""
        request, profile, provider, _ = self.admit(request)
        section = _SECTIONS[request.kind]
        fingerprint = self._fingerprints.get((section, profile.name))
        if fingerprint is None:
            fingerprint = self._fingerprints[section, profile.name] = profile.fingerprint()
        settings = profile.credentials

        def make() -> Slot:
            def load(slot: Slot, flight: Flight) -> Loaded:
                return self._load(slot, flight, profile, provider)

            timeout = settings.timeout.total_seconds() if settings else 10.0
            # A static secret has no end that a max_ttl could bring forward.
            endless = request.kind != "table" and settings is not None and settings.mode == "static"
            longest = math.inf if endless else profile.max_ttl.total_seconds()
            return Slot(key, profile=profile.name, load=load, timeout=timeout, asked=request, longest=longest)

        key = (replace(request, run_id=None), fingerprint)
        return self.engine.slot(key, make)

    def _provider(self, request: CredentialRequest, profile: Profile) -> providers.Provider:
        if request.kind == "table":
            mode = "catalog"
        elif isinstance(profile, StorageProfile) and profile.type == "local":
            raise misconfigured(profile, "type", "is 'local': local files need no credential")
        elif isinstance(profile, CatalogProfile) and profile.type == "sql":
            raise misconfigured(
                profile, "type", "is 'sql': a database has no token; open it with load_catalog or BrokerSqlCatalog"
            )
        elif profile.credentials is None:
            raise misconfigured(profile, "credentials", "is missing: say how its credentials are issued")
        else:
            mode = profile.credentials.mode
        provider = self._providers.get(mode)
        if provider is None:
            provider = self._providers[mode] = providers.load(mode, tuple(self.platform.plugins))
        return provider

    # -- one issue -----------------------------------------------------------------------------------------------------

    def _load(self, slot: Slot, flight: Flight, profile: Profile, provider: providers.Provider) -> Loaded:
        request = _identity(slot)

        def get(wanted: CredentialRequest) -> Credential:
            return self._get_inline(wanted)

        # Nested issues run on one thread, one inside the other: this is the chain of them.
        chain: list[Slot] = self._chains.__dict__.setdefault("slots", [])
        chain.append(slot)
        try:
            return issue(
                request,
                profile,
                provider,
                context=self.context,
                trail=self.trail,
                deadline=flight.deadline or self.context.clock.elapsed(),
                get=get,
                invalidate=lambda wanted, value: self.engine.invalidate(self.slot(wanted), value),
            )
        finally:
            chain.pop()

    def _get_inline(self, request: CredentialRequest) -> Credential:
        while True:
            slot = self.slot(request)
            if slot in self._chains.__dict__.get("slots", ()):
                raise ConfigurationError("the profile needs its own credential to issue one", profile=request.profile)
            got: Any = self.engine.get_inline(slot, request)
            if got is not GONE:
                return got  # type: ignore[no-any-return]

    def _retired(self, slot: Slot, value: Credential, used: bool) -> None:
        self.trail.usage(_identity(slot), value, used=used)

    # -- looking in ----------------------------------------------------------------------------------------------------

    def status(self) -> list[dict[str, object]]:
        """One entry a key; see ``Broker.status``."""
        now, wall = self.context.clock.elapsed(), self.context.clock.now()
        entries: list[dict[str, object]] = []
        for slot in self.engine.slots():
            request = _identity(slot)
            value, instants, failure = slot.held[0], slot.instants, slot.failure
            state = instants.state(now).value if value is not None and instants is not None else "absent"
            entries.append(
                {
                    "kind": request.kind,
                    "profile": request.profile,
                    "locations": [str(location) for location in request.locations],
                    "table": ".".join(request.table) if request.table else None,
                    "access": request.access.value if request.access else None,
                    "scopes": sorted(request.scopes),
                    "audience": request.audience,
                    "principal": request.principal,
                    "actor": request.actor,
                    "state": state,
                    "fingerprint": value.fingerprint if value is not None else None,
                    "expires_at": value.expires_at if value is not None else None,
                    "refresh_in": max(0.0, instants.refresh_at - now) if instants is not None else None,
                    "refused": slot.refused_served,
                    "failures": slot.failures,
                    "error": f"{type(failure).__name__}: {failure}" if isinstance(failure, CredbrokerError) else None,
                    "at": wall,
                }
            )
        return entries

    def __reduce__(self) -> tuple[Any, ...]:
        return (attach, (self.reference,))


def _identity(slot: Slot) -> CredentialRequest:
    """What a slot is issued for: the request in its key, with the run of whoever caused the latest issue."""
    request: CredentialRequest = slot.key[0]  # type: ignore[index]  # the key that Brokerage.slot() made
    return replace(request, run_id=slot.asked.run_id)


def attach(reference: attachment.Reference) -> Brokerage:
    """The broker's brokerage of a pickled reference: this process's own, else one loaded from this process's files.

    Raises ``ConfigurationError`` where those files hold another configuration, or there are none.
    """
    with attachment.making:
        brokerage = attachment.attached(reference)
        return brokerage if brokerage is not None else _loaded(reference)


def _loaded(reference: attachment.Reference) -> Brokerage:
    from credbroker.config import load_files
    from credbroker.system.environment import SystemEnvironment

    paths = attachment.files_for(reference, SystemEnvironment().variable(attachment.CONFIG_VARIABLE))
    platform = load_files(paths)
    if platform.fingerprint != reference.fingerprint:
        raise ConfigurationError(
            f"{', '.join(paths)} is not the configuration that this credential was made by: "
            "give both processes the same file"
        )
    return Brokerage(platform, None, None)


def _real_context(platform: Platform) -> Context:
    from credbroker.config import resolver
    from credbroker.system.environment import SystemEnvironment
    from credbroker.system.http import SystemHttp

    environment = SystemEnvironment()
    network = platform.network
    http = SystemHttp(proxy=network.proxy, ca_file=network.ca_file, allowed_hosts=network.allowed_hosts)
    world = Context(clock=SystemClock(), http=http, environment=environment)
    return Context(http=http, environment=environment, secrets=resolver(platform, world))
