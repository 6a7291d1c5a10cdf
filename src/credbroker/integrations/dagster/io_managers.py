"""WithBroker: an IO manager that was written for strings asks for the step that it reads or writes for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from credbroker.integrations.dagster.as_defined import check_as_defined
from credbroker.integrations.dagster.metadata import metadata_of
from credbroker.integrations.dagster.resource import CredentialBrokerResource

_END = object()


class WithBroker(dg.ConfigurableIOManagerFactory):  # type: ignore[type-arg]  # whatever its neighbour makes
    """To be put before an IO manager's class that loads its catalog, a ``BrokerRestCatalog`` for one, by properties alone.

    ::

        class LakeIOManager(WithBroker, PyArrowIcebergIOManager): ...

        LakeIOManager(broker=broker, name="production", config=..., namespace="sales")

    What it asks for has the run's actor and is on record with run, job, asset and partition; and what is written is told the
    broker's metadata. The catalog's ``credbroker.config`` has to be the files of ``broker``, and no field may be given by a
    run's config: ``ConfigurationError``.
    """

    broker: CredentialBrokerResource

    def create_io_manager(self, context: dg.InitResourceContext) -> dg.IOManager:
        # Its properties name the platform file, and the class that is loaded: they are no more for a run to say.
        check_as_defined(context, type(self))
        with self.broker.broker.as_shared():
            made: dg.IOManager = super().create_io_manager(context)  # type: ignore[safe-super]  # its neighbour's
        return _ForStep(made, self.broker)


class _ForStep(dg.IOManager):
    def __init__(self, inner: dg.IOManager, broker: CredentialBrokerResource) -> None:
        self._inner = inner
        self._broker = broker

    def handle_output(self, context: dg.OutputContext, obj: Any) -> Iterator[Any]:  # type: ignore[override]  # it may yield
        view = self._broker.view(context)
        with view.as_shared():
            handled: Any = self._inner.handle_output(context, obj)
        events = handled if isinstance(handled, Iterator) else iter([handled] if handled else [])
        told = False
        while True:
            # Only the inner manager's own work is done for the step: what Dagster does between two events is not.
            with view.as_shared():
                event = next(events, _END)
            if event is _END:
                break
            told = told or (isinstance(event, dg.AssetMaterialization) and bool(event.metadata))
            yield event
        if told:  # Dagster refuses a materialization with metadata beside metadata of the output
            return
        earlier = {**context.output_metadata, **context.get_logged_metadata()}
        metadata = metadata_of(view, earlier)
        context.add_output_metadata({key: metadata[key] for key in metadata.keys() - context.get_logged_metadata().keys()})

    def load_input(self, context: dg.InputContext) -> Any:
        with self._broker.view(context).as_shared():
            return self._inner.load_input(context)
