"""CredentialBrokerResource: the Broker's words inside assets, ops, checks, sensors and IO managers."""

from __future__ import annotations

import os
from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import dagster as dg
from pydantic import ConfigDict, Field, PrivateAttr

from credbroker.broker import Broker
from credbroker.credentials import AccessToken, DatabaseCredentials, StorageCredentials, TableCredentials
from credbroker.errors import ConfigurationError
from credbroker.integrations.dagster.as_defined import check_as_defined
from credbroker.integrations.dagster.lineage import Work, of_context, of_run
from credbroker.integrations.dagster.metadata import metadata_of
from credbroker.integrations.dagster.preflight import try_at_start
from credbroker.location import Location
from credbroker.request import Access
from credbroker.source import CredentialSource

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


class CredentialBrokerResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # what it hands out is itself
    """One broker for all of a process's runs and steps, however often Dagster sets the resource up, or nests it.

    Each word of ``Broker`` returns a live handle. What is asked inside an asset, an op or a check is asked for its run, and
    job, asset keys and partition go on record with it. No field holds a secret.

    ``config`` is the platform file, several separated as in a PATH; absent, ``$CREDBROKER_CONFIG`` names them. Each of
    ``profiles`` (``"storage/lake"``, ``"catalogs/production"``, ``"compute/reporting"``) is issued for once, before the run
    goes on; absent, every secret that a profile names is looked for, if that asks no server.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    config: str = Field(
        default="",
        description="The platform file, or several, separated as in a PATH. Empty: what $CREDBROKER_CONFIG names.",
    )
    profiles: list[str] | None = Field(
        default=None,
        description="Profiles to issue for when a run starts, such as storage/lake: what cannot be issued fails it there. "
        "Absent: secrets in the environment and in files are looked for. An empty list: nothing.",
    )
    actor_tag: str = Field(
        default="user",
        description="The run's tag that says for whom it runs: part of what is issued for. A run without it has no actor.",
    )
    namespace: str = Field(default="dagster", description="The namespace that OpenLineage knows this deployment's jobs by.")

    _work: Work = PrivateAttr(default=Work())
    _views: dict[Work, Broker] = PrivateAttr(default_factory=dict)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Load the platform file; for a run, issue once for each of ``profiles``, or look for the secrets.

        Raises the broker's own error, which names the remedy: nothing that can be known here fails in an asset. An issuer
        that may answer later is a warning in the run's log, so that an asset's own retries are what decides.
        """
        own = {name: field.default for name, field in CredentialBrokerResource.model_fields.items()}
        check_as_defined(context, type(self), own)
        self._work = of_run(context.run, self.actor_tag, self.namespace)
        view = self._view(self._work)
        if context.run is not None:  # a sensor's or a schedule's tick must not fail by what it does not ask for
            try_at_start(view, self.profiles, context.log)

    @classmethod
    def configure_at_launch(cls, **kwargs: Any) -> NoReturn:  # noqa: ARG003 - Dagster's signature
        """Refused with ``ConfigurationError``: whoever launches a run would choose the platform file."""
        raise ConfigurationError(
            "what the broker reads is for its definition to say, not for a run: give the fields there, and a dg.EnvVar for "
            "what differs between deployments"
        )

    # -- the broker's words --------------------------------------------------------------------------------------------

    def catalog(
        self, name: str, *, access: Access | str | None = None, scope: str | None = None, audience: str | None = None
    ) -> CredentialSource[AccessToken]:
        """The token for that catalog; see ``Broker.catalog``."""
        return self.broker.catalog(name, access=access, scope=scope, audience=audience)

    def storage(
        self, name: str, *locations: str | Location, access: Access | str = Access.READ
    ) -> CredentialSource[StorageCredentials]:
        """Credentials for those locations only; see ``Broker.storage``."""
        return self.broker.storage(name, *locations, access=access)

    def table(
        self, name: str, table: str | tuple[str, ...], access: Access | str = Access.READ
    ) -> CredentialSource[TableCredentials]:
        """The storage credentials that the catalog vends for a table; see ``Broker.table``."""
        return self.broker.table(name, table, access=access)

    def compute(self, name: str) -> CredentialSource[DatabaseCredentials | AccessToken]:
        """The credential for that engine; see ``Broker.compute``."""
        return self.broker.compute(name)

    def load_catalog(
        self,
        name: str,
        access: Literal["read", "read_write"] = "read",
        io: Literal["pyarrow", "fsspec"] = "pyarrow",
        **properties: Any,
    ) -> Catalog:
        """The PyIceberg catalog of a profile; see ``credbroker.integrations.pyiceberg.load_catalog``."""
        from credbroker.integrations.pyiceberg import load_catalog

        return load_catalog(self.broker, name, access=access, io=io, **properties)

    # -- whose they are ------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The broker, as a view for the step that runs; outside of one for the run, or for nobody in particular."""
        return self.view()

    def view(self, context: Any = None) -> Broker:
        """The broker, as a view for the step of ``context``: an asset's or op's, or an IO manager's input or output.

        Without one it is the step that runs in this very thread. IO managers, and threads of an asset, hand theirs over.
        """
        return self._view(of_context(context, self._work))

    def metadata(self, context: Any = None) -> dict[str, dg.MetadataValue]:
        """What this step has asked for, for its materialization: scopes, ends, fingerprints, and issues in the run.

        Nothing is issued, and nothing secret is told. ``context`` is as for ``view``. Issues are counted in this process: in
        all of the run, where one process runs all of its steps.
        """
        return metadata_of(self.view(context))

    def _view(self, work: Work) -> Broker:
        view = self._views.get(work)
        if view is None:
            paths = [path for path in self._files().split(os.pathsep) if path]
            # In a context of its own: this may be called within another run's as_shared, whose actor and run are not ours.
            shared = Context().run(Broker.shared, *paths)
            view = shared.with_context(actor=work.actor, run_id=work.run_id, lineage=work.lineage)
            self._views[work] = view
        return view

    def _files(self) -> str:
        # Dagster resolves it when it sets the resource up; who calls an asset as a plain function has it as it was given.
        if not isinstance(self.config, dg.EnvVar):
            return self.config
        files = self.config.get_value()
        if files is None:
            raise ConfigurationError(f"${self.config.env_var_name} is not set: name the platform.yaml there")
        return files

    def __reduce__(self) -> tuple[Any, ...]:
        # As initialized it holds Dagster's instance and log, which do not pickle; a worker needs neither.
        return (_rebuilt, (type(self), dict(self), self._work))


def _rebuilt(kind: type[CredentialBrokerResource], fields: dict[str, Any], work: Work) -> CredentialBrokerResource:
    resource = kind(**fields)
    resource._work = work  # noqa: SLF001
    return resource
