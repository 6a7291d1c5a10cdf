"""Brokerage: what all views of one broker share, and the way from a request to its slot."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakValueDictionary

from credbroker import attachment, limits, profiles, providers
from credbroker.audit.log import LogSink
from credbroker.audit.trail import Trail
from credbroker.context import NO_CLOCK, Context
from credbroker.credentials import Credential
from credbroker.errors import AccessDenied, BrokerClosed, ConfigurationError, IssuerUnavailable
from credbroker.issuing import issue
from credbroker.profile import Profile
from credbroker.providers.requirements import check_profile
from credbroker.refresh.engine import GONE, Engine
from credbroker.refresh.flight import Flight
from credbroker.refresh.slot import Loaded, Slot
from credbroker.request import CredentialRequest
from credbroker.system import log_filter
from credbroker.system.clock import SystemClock
from credbroker.tally import Tally

if TYPE_CHECKING:
    from credbroker.config import Platform

_MOST_UNREVOKED = 1000


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
        own_context = context is None
        if context is None:
            from credbroker.config.world import real_context  # with requests, which an embedder's own context may not need

            context = real_context(platform)
        self.injected_clock = context.clock is not NO_CLOCK
        self.context = context if self.injected_clock else replace(context, clock=SystemClock())
        self.trail = self.trail_of(platform)
        self.given: Mapping[str, providers.Provider] = dict(given or {})
        self.own_context = own_context
        self._providers: dict[str, providers.Provider] = dict(self.given)
        self._fingerprints: dict[tuple[str, str], tuple[Profile, str]] = {}
        self._chains = threading.local()
        self.closed = False
        self.reloading = threading.RLock()
        self.issued = Tally()
        self.views: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """The brokers of this brokerage, by who asks and what for."""
        self.unrevoked: deque[Any] = deque(maxlen=_MOST_UNREVOKED)
        """What ``revoking`` could not ask an issuer about: held by nobody else, and never served."""
        self.engine = Engine(self.context.clock, background=not self.injected_clock, on_retired=self._retired)
        log_filter.install()
        attachment.register(self)

    def trail_of(self, platform: Platform) -> Trail:
        audit = platform.audit
        return Trail(
            self.context.clock,
            LogSink(always=audit.required) if audit.enabled else None,
            include=audit.include,
            required=audit.required,
            environment=platform.environment,
        )

    def adopt(self, platform: Platform, context: Context, trail: Trail) -> None:
        """Go on by another configuration, which ``reloading`` has found to be sound: nothing here can fail.

        What its profiles say the same stays held; every other value is dropped, and whatever is being issued for it.
        """

        def swap() -> None:
            # The platform first: whoever sees the new context finds the profile changed, and stops.
            self._providers = dict(self.given) if platform.plugins != self.platform.plugins else self._providers
            self._fingerprints = {}
            self.platform = platform
            self.context, self.trail = context, trail

        self.reference = replace(
            self.reference,
            paths=attachment.absolute(platform.paths) or self.reference.paths,
            fingerprint=platform.fingerprint,
        )
        self.engine.take(lambda slot: not self._unchanged(slot), swap)
        self.engine.forgive()

    def _unchanged(self, slot: Slot) -> bool:
        """Whether the configuration says of a slot's profile, and of who asks, what it said when the slot was made."""
        request, fingerprint = key_of(slot)
        section = profiles.SECTIONS[request.kind]
        profile = profiles.sections(self.platform)[section].get(request.profile)
        same = profile is not None and self._fingerprint(section, profile) == fingerprint
        return same and request.principal == self.platform.principal

    def close(self) -> None:
        with self.reloading:
            if self.closed:
                return
            self.closed = True
        attachment.forget(self)
        self.engine.close()
        self.unrevoked.clear()
        # The backends go with it: they may hold logins of their own.
        self.context = Context(clock=self.context.clock)
        log_filter.uninstall()

    # -- from a request to its slot ------------------------------------------------------------------------------------

    def admit(self, request: CredentialRequest) -> Admitted:
        """Check a request against its profile's limits and settings, without any I/O.

        Raises ``BrokerClosed``, ``AccessDenied`` (on record) and ``ConfigurationError``.
        """
        if self.closed:
            raise closed()
        profile = profiles.profile_of(self.platform, request.kind, request.profile)
        provider = self.provider(request, profile)
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
        return Admitted(request, profile, provider, providers.planned(provider, request, profile))

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
        while True:
            platform = self.platform
            slot = self._slot(self.admit(request))
            if platform is self.platform:
                return slot
            # A reload came in between, whose purge may have been over before this slot was there.
            if not self._unchanged(slot):
                self.engine.purge(lambda one, stale=slot: one is stale)  # type: ignore[misc]

    def _slot(self, admitted: Admitted) -> Slot:
        request, profile, provider, _ = admitted
        fingerprint = self._fingerprint(profiles.SECTIONS[request.kind], profile)
        settings = profile.credentials

        def make() -> Slot:
            def load(slot: Slot, flight: Flight) -> Loaded:
                return self._load(slot, flight, profile, provider)

            timeout = settings.timeout.total_seconds() if settings else 10.0
            # A static secret has no end that a max_ttl could bring forward; a vault's lease has.
            static = request.kind != "table" and settings is not None and settings.mode == "static"
            endless = static and not (settings and settings.secret_ref and settings.secret_ref.engine)
            longest = math.inf if endless or request.base else profile.max_ttl.total_seconds()
            return Slot(key, profile=profile.name, load=load, timeout=timeout, asked=request, longest=longest)

        # Two runs share a value, unless the profile writes the run into it.
        run = request.run_id if settings is not None and settings.session_run else None
        key = (replace(request, run_id=run, lineage=None), fingerprint)
        return self.engine.slot(key, make)

    def _fingerprint(self, section: str, profile: Profile) -> str:
        known = self._fingerprints
        of, fingerprint = known.get((section, profile.name), (None, ""))
        if of is not profile:  # a thread may still be at work with the profile as it was before a reload
            fingerprint = profiles.fingerprint_of(profile, self.platform)
            known[section, profile.name] = profile, fingerprint
        return fingerprint

    def provider(self, request: CredentialRequest, profile: Profile) -> providers.Provider:
        """Who issues for it. Raises ``ConfigurationError`` for a profile that has no mode, or one that cannot be loaded."""
        mode = profiles.mode_of(request, profile)
        provider = self._providers.get(mode)
        if provider is None:
            provider = self._providers[mode] = providers.load(mode, tuple(self.platform.plugins))
        return provider

    # -- one issue -----------------------------------------------------------------------------------------------------

    def _load(self, slot: Slot, flight: Flight, profile: Profile, provider: providers.Provider) -> Loaded:
        request = identity(slot, flight.asked)
        context, trail = self.context, self.trail

        def check() -> None:
            """A reload ends its flights. Whoever was withdrawn must not be sent what the new configuration gives.

            The error is told to nobody: the flight is outdated, and its waiters ask anew.
            """
            if not slot.live or not self._unchanged(slot):
                raise IssuerUnavailable("the configuration was changed while this was being issued", profile=profile.name)

        def get(wanted: CredentialRequest) -> Credential:
            check()
            limits.check_base(wanted, profile)
            return self._get_inline(wanted)

        def own(name: str) -> CredentialRequest:
            return replace(
                request, locations=(), access=None, scopes=frozenset(), audience=None, table=None, actor=None, base=name
            )

        made_of: dict[str, str] = {}

        def base(name: str) -> Credential:
            check()
            value = self._get_inline(own(name))
            # Where a server refused the value that was made of this very one, it may be this one that it does not take. What
            # this one was made of in its turn was taken, else it would not be there.
            refused = request.base is None and slot.refused is not None and slot.instants is None
            if refused and slot.made_of.get(name) == value.fingerprint:
                self.engine.invalidate(self.slot(own(name)), value)
                value = self._get_inline(own(name))
            made_of[name] = value.fingerprint
            return value

        def invalidate(wanted: CredentialRequest, value: Credential) -> bool:
            check()
            limits.check_base(wanted, profile)
            return self.engine.invalidate(self.slot(wanted), value)

        def drop(name: str, value: Credential) -> bool:
            check()
            return self.engine.invalidate(self.slot(own(name)), value)

        check()
        # Nested issues run on one thread, one inside the other: this is the chain of them.
        chain: list[Slot] = self._chains.__dict__.setdefault("slots", [])
        chain.append(slot)
        try:
            loaded = issue(
                request,
                profile,
                provider,
                context=context,
                trail=trail,
                deadline=flight.deadline or context.clock.elapsed(),
                get=get,
                base=base,
                drop=drop,
                invalidate=invalidate,
                check=check,
            )
        finally:
            chain.pop()
        slot.made_of = made_of
        self.issued.count(request.run_id)
        return loaded

    def _get_inline(self, request: CredentialRequest) -> Credential:
        while True:
            slot = self.slot(request)
            if slot in self._chains.__dict__.get("slots", ()):
                raise ConfigurationError("the profile needs its own credential to issue one", profile=request.profile)
            got: Any = self.engine.get_inline(slot, request)
            if got is not GONE:
                return got  # type: ignore[no-any-return]

    def _retired(self, slot: Slot, value: Credential, used: bool) -> None:
        self.trail.usage(identity(slot), value, used=used)

    def __reduce__(self) -> tuple[Any, ...]:
        return (attach, (self.reference,))


def key_of(slot: Slot) -> tuple[CredentialRequest, str]:
    """The key that a brokerage makes its slots by: the request, and the fingerprint of its profile."""
    return cast("tuple[CredentialRequest, str]", slot.key)


def closed() -> BrokerClosed:
    """The error of whatever is asked of a closed broker."""
    return BrokerClosed("the broker is closed: make a new one with Broker.from_yaml()")


def identity(slot: Slot, asked: CredentialRequest | None = None) -> CredentialRequest:
    """What a slot is issued for: the request in its key, with the run and the lineage of ``asked`` (or ``slot.asked``)."""
    by = slot.asked if asked is None else asked
    return replace(key_of(slot)[0], run_id=by.run_id, lineage=by.lineage)


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
