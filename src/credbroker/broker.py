"""Broker: the nouns of platform.yaml as live handles. Orchestration only: no policy, no I/O."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from credbroker import arguments, attachment
from credbroker.brokerage import Brokerage
from credbroker.context import Context
from credbroker.credentials import AccessToken, DatabaseCredentials, StorageCredentials, TableCredentials
from credbroker.downscoping import downscoped
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.profile import Profile
from credbroker.profiles import profile_of
from credbroker.providers import Provider
from credbroker.refresh.slot import Slot
from credbroker.request import Access, CredentialRequest, Kind, Lineage
from credbroker.revoking import revoke
from credbroker.source import ClockedSource, CredentialSource
from credbroker.status import status

if TYPE_CHECKING:
    from pydantic import SecretStr

    from credbroker.config import PlatformConfig
    from credbroker.config.settings import NetworkSettings, SidecarSettings
    from credbroker.secrets.reference import SecretReference

_MOST_NAMES = 10_000
_here: ContextVar[Broker | None] = ContextVar("credbroker.as_shared", default=None)


class Broker:
    """Hands out short-lived credentials by the profiles of platform.yaml.

    Every noun returns a ``CredentialSource`` and does no I/O; only its ``get()`` does. A broker is thread-safe, serves
    coroutines by ``aget()``, starts afresh in a forked child, and pickles as a reference.
    """

    __slots__ = (
        "__weakref__",
        "_actor",
        "_asked",
        "_brokerage",
        "_catalogs",
        "_compute",
        "_lineage",
        "_run_id",
        "_storage",
        "_tables",
    )

    def __init__(
        self,
        brokerage: Brokerage,
        *,
        actor: str | None = None,
        run_id: str | None = None,
        lineage: Lineage | None = None,
    ) -> None:
        self._brokerage = brokerage
        self._actor = actor
        self._run_id = run_id
        self._lineage = lineage
        # Raw arguments to source, read without a lock; parsing and limits run on a miss only.
        self._catalogs: dict[Hashable, CredentialSource[AccessToken]] = {}
        self._storage: dict[Hashable, CredentialSource[StorageCredentials]] = {}
        self._tables: dict[Hashable, CredentialSource[TableCredentials]] = {}
        self._compute: dict[Hashable, CredentialSource[DatabaseCredentials | AccessToken]] = {}
        self._asked: WeakKeyDictionary[Slot, None] = WeakKeyDictionary()

    # -- making one ----------------------------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, *paths: str | os.PathLike[str]) -> Self:
        """Load platform.yaml; several files are merged in order, map by map.

        Raises ``ConfigurationError`` that lists every fault with its file, line and field.
        """
        from credbroker.config import load_files

        return cls(Brokerage(load_files(paths), None, None))

    @classmethod
    def from_config(
        cls,
        config: PlatformConfig | Mapping[str, Any],
        *,
        providers: Mapping[str, Provider] | None = None,
        context: Context | None = None,
    ) -> Self:
        """For embedders and tests: from a model or a plain mapping.

        ``providers`` maps a mode to the object that issues for it; ``context=None`` is the real world, a ``Context`` built
        without one of its parts reaches nothing there.
        """
        from credbroker.config import from_data

        try:
            platform = from_data(config)
        except ConfigurationError as error:
            fault = error.fresh()
            del config  # a literal secret may stand in it, and a traceback keeps this frame's variables
        else:
            return cls(Brokerage(platform, providers, context))
        raise fault

    @classmethod
    def from_env(cls) -> Self:
        """Load the files that ``$CREDBROKER_CONFIG`` names, separated as a PATH is."""
        return cls.from_yaml(*attachment.configured())

    @classmethod
    def shared(cls, *paths: str | os.PathLike[str]) -> Broker:
        """This process's one broker of those files (none: of ``$CREDBROKER_CONFIG``), made at the first call.

        Within a block of ``as_shared`` it is that view, and ``ConfigurationError`` for other files.
        """
        absolute = attachment.absolute(paths) or attachment.configured()
        here = _here.get()
        if here is not None:
            if here.paths != absolute:
                raise ConfigurationError(
                    f"{', '.join(absolute)} is not the configuration that is shared here, which is {', '.join(here.paths)}: "
                    "name the same files in both places"
                )
            return here
        with attachment.making:
            brokerage = attachment.of_paths(absolute) or cls.from_yaml(*absolute)._brokerage  # noqa: SLF001 - its own class
        return _view(brokerage, None, None, None)

    def with_context(self, *, actor: str | None = None, run_id: str | None = None, lineage: Lineage | None = None) -> Broker:
        """A view for somebody, on the same store: ``actor`` is part of what is issued for, ``run_id`` goes on record.

        So does ``lineage``, which is never part of what is issued. Closing a view closes the broker, for all of them.
        Raises ``ConfigurationError`` for an actor or a run of more than 1000 characters.
        """
        actor = arguments.asserted("actor", actor) or self._actor
        run_id = arguments.asserted("run_id", run_id) or self._run_id
        return _view(self._brokerage, actor, run_id, lineage or self._lineage)

    @contextmanager
    def as_shared(self) -> Iterator[None]:
        """What is loaded by strings alone in this block, by this thread or task, is asked for this view: see ``shared``."""
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)

    # -- the nouns -----------------------------------------------------------------------------------------------------

    def catalog(
        self, name: str, *, access: Access | str | None = None, scope: str | None = None, audience: str | None = None
    ) -> CredentialSource[AccessToken]:
        """The token for that catalog; ``scope`` (space separated) and ``audience`` narrow it, never more.

        ``access`` takes the profile's scope for that access, where it has one (``scopes:``).
        Raises ``ConfigurationError`` and ``AccessDenied``.
        """
        plain = access is None and scope is None and audience is None
        key: Hashable = name if plain else (name, access, scope, audience)
        source = self._catalogs.get(key)
        if source is None:
            request = CredentialRequest(
                "catalog", name, access=arguments.access(access), scopes=arguments.scopes(scope), audience=audience
            )
            source = _kept(self._catalogs, key, self._source(request))
        return source

    def storage(
        self, name: str, *locations: str | Location, access: Access | str = Access.READ
    ) -> CredentialSource[StorageCredentials]:
        """Credentials for those locations only; without one, for the profile's only location.

        Raises ``AccessDenied`` for a location or access beyond the profile's, ``ConfigurationError``.
        """
        key = (name, locations, access)
        try:
            source = self._storage.get(key)
        except TypeError:
            raise ConfigurationError(
                "locations are texts, given one by one: storage(name, 's3://a/b', 's3://a/c')"
            ) from None
        if source is None:
            request = CredentialRequest(
                "storage", name, locations=arguments.locations(locations), access=arguments.access(access)
            )
            source = _kept(self._storage, key, self._source(request))
        return source

    def table(
        self, name: str, table: str | tuple[str, ...], access: Access | str = Access.READ
    ) -> CredentialSource[TableCredentials]:
        """The storage credentials that the catalog vends for a table, ``"sales.orders"`` or ``("sales", "orders")``."""
        key = (name, table, access)
        try:
            source = self._tables.get(key)
        except TypeError:
            raise ConfigurationError(
                "a table is named by a text or a tuple, 'sales.orders' or ('sales', 'orders')"
            ) from None
        if source is None:
            request = CredentialRequest(
                "table", name, access=arguments.access(access), table=arguments.identifier(table, name)
            )
            source = _kept(self._tables, key, self._source(request))
        return source

    def compute(self, name: str) -> CredentialSource[DatabaseCredentials | AccessToken]:
        """The credential for that engine: a login (a password, or a private key), or a token.

        Clients take it when they connect: call ``get()`` for each connection, as a pool's callback does. A login that the
        engine refused is told to ``invalidate``. Raises ``ConfigurationError``.
        """
        source = self._compute.get(name)
        if source is None:
            source = _kept(self._compute, name, self._source(CredentialRequest("compute", name)))
        return source

    # -- looking in and letting go -------------------------------------------------------------------------------------

    def profile(self, kind: Kind, name: str) -> Profile:
        """The settings of a profile. Raises ``ConfigurationError`` that says where that name does exist."""
        return profile_of(self._brokerage.platform, kind, name)

    @property
    def network(self) -> NetworkSettings:
        """The ``network:`` section: a data client, too, reaches the world by it alone."""
        return self._brokerage.platform.network

    @property
    def sidecar(self) -> SidecarSettings | None:
        """The ``sidecar:`` section, None where there is none: what ``credbroker sidecar`` serves, as of the last reload."""
        return self._brokerage.platform.sidecar

    @property
    def paths(self) -> tuple[str, ...]:
        """The absolute paths of the files that it was made from, in their order; none for a mapping."""
        return self._brokerage.reference.paths

    def resolve(self, reference: SecretReference) -> SecretStr:
        """Resolve a secret by the configuration's backends, afresh. Raises ``SecretNotFound``."""
        return self._brokerage.context.secrets.resolve(reference)

    def status(self, *, own: bool = False) -> list[dict[str, object]]:
        """One entry for each key in the store: profile, request, state, fingerprint, end, last error. No secret.

        ``own``: only what was asked of this very view.
        """
        found = (reference() for reference in self._asked.keyrefs())
        return status(self._brokerage, [slot for slot in found if slot is not None and slot.live] if own else None)

    @property
    def issues(self) -> int:
        """How many values this process has had issued for this view's run."""
        return self._brokerage.issued.of(self._run_id)

    def revoke(self, name: str) -> list[dict[str, object]]:
        """Have the issuers take back what is held for the profiles of that name, then drop it.

        Tokens are revoked by RFC 7009, a vault's leases at the vault. What cannot be taken back (an STS session, a SAS) is
        reported: one ``{"profile", "revoked", "reason", "runbook"}`` for each value that was held, at least one a profile.
        What was issued before, and replaced since, is not held any more and lives to its own end.

        Raises ``ConfigurationError`` for an unknown name; what an issuer answers is in the report.
        """
        return revoke(self._brokerage, name)

    def reload(self, config: PlatformConfig | Mapping[str, Any] | None = None) -> None:
        """Read the broker's files again, or take ``config``, and go on by it: all of it, or, where it is bad, none.

        A source of a profile that says the same keeps its value. One of a profile that was changed gets a new value by the
        new settings at its next ``get``, and raises there if they allow it no more, or if the profile is gone. What went
        wrong before is forgotten: who asks next, asks the issuer.

        Raises ``ConfigurationError``, with everything as it was, and ``BrokerClosed``.
        """
        from credbroker.reloading import reload_from

        try:
            reload_from(self._brokerage, config)
        except ConfigurationError as error:
            fault = error.fresh()
            del config  # a literal secret may stand in it, and a traceback keeps this frame's variables
        else:
            return
        raise fault

    def purge(self, name: str) -> int:
        """Drop every value of the profiles of that name and whatever is being issued for them; how many keys there were."""
        return self._brokerage.engine.purge(lambda slot: slot.profile == name)

    def close(self) -> None:
        """Drop every value and wake all who wait, with ``BrokerClosed``. Waits for nothing; a second call does nothing."""
        self._brokerage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _mine(self, request: CredentialRequest) -> CredentialRequest:
        if request.actor is None and request.run_id is None and (self._actor or self._run_id or self._lineage):
            return replace(request, actor=self._actor, run_id=self._run_id, lineage=self._lineage)
        return request

    def _source(self, request: CredentialRequest) -> CredentialSource[Any]:
        request = self._mine(request)
        self._brokerage.admit(request)
        make = ClockedSource if self._brokerage.injected_clock else CredentialSource
        return make(self, request)

    def _found(self, request: CredentialRequest) -> Slot:
        """The live slot for a request of this view's, which is on record as this view's from now on."""
        slot = self._brokerage.slot(request)
        slot.asked = request
        self._asked[slot] = None
        return slot

    def _downscoped(
        self, request: CredentialRequest, locations: tuple[str | Location, ...], access: Access | str | None
    ) -> CredentialSource[Any]:
        return self._source(downscoped(self._brokerage, request, arguments.locations(locations), arguments.access(access)))

    def __repr__(self) -> str:
        where = ", ".join(self._brokerage.reference.paths) or "a mapping"
        return f"<Broker of {where}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_view, (self._brokerage, self._actor, self._run_id, self._lineage))


def _view(brokerage: Brokerage, actor: str | None, run_id: str | None, lineage: Lineage | None) -> Broker:
    """The one view for these, as long as anybody has it: it tells what was asked for them, by whichever name."""
    made = Broker(brokerage, actor=actor, run_id=run_id, lineage=lineage)
    view: Broker = attachment.first(brokerage.views, (actor, run_id, lineage), made)
    return view


def _kept(named: dict[Hashable, Any], key: Hashable, source: Any) -> Any:
    if len(named) >= _MOST_NAMES:
        named.clear()  # only the way to the sources; what they hold is the store's to bound
    named[key] = source
    return source
