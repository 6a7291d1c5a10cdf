"""Who asks, as Dagster knows it: the run, for whom it runs, and what of its job is being made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from credbroker.request import Lineage

_MOST_PARTITIONS = 10
"""A record names that many, and says how many more there were."""


@dataclass(frozen=True, slots=True)
class Work:
    """What ``Broker.with_context`` is told."""

    actor: str | None = None
    run_id: str | None = None
    lineage: Lineage | None = None


def of_run(run: dg.DagsterRun | None, actor_tag: str, namespace: str) -> Work:
    """The work of a run as a whole; None is no run at all: a sensor, a schedule, a notebook."""
    if run is None:
        return Work()
    return Work(run.tags.get(actor_tag) or None, run.run_id, Lineage(job=run.job_name, namespace=namespace))


def of_context(context: Any, run: Work) -> Work:
    """The work of the step that ``context`` belongs to, or, for None, of the one that runs in this thread."""
    if run.run_id is None:  # a sensor, or a test that calls an asset: what such a context says of a step is made up
        return run
    if context is None:
        context = _current()
    if isinstance(context, dg.InputContext | dg.OutputContext):
        assets, partition = _of_io(context)
    elif context is not None:
        assets, partition = _of_step(getattr(context, "op_execution_context", context))
    else:
        return run
    if not assets and partition is None:
        return run
    return replace(run, lineage=replace(run.lineage or Lineage(), assets=assets, partition=partition))


def _current() -> Any:
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:  # no step runs in this thread
        return None


def _of_step(context: Any) -> tuple[tuple[str, ...], str | None]:
    if not isinstance(context, dg.OpExecutionContext):
        return (), None
    if not context.has_assets_def:
        return (), _partition_of_run(context, None)
    checked = {check.asset_key for check in context.selected_asset_check_keys}
    assets = _names({*context.selected_asset_keys, *checked})
    # A run has a partition for all of its steps, those of assets without partitions among them.
    partitions = context.assets_def.partitions_def
    return assets, _partition_of_run(context, partitions) if partitions is not None else None


def _partition_of_run(context: dg.OpExecutionContext, partitions: dg.PartitionsDefinition[Any] | None) -> str | None:
    if context.has_partition_key:
        return str(context.partition_key)  # one of several dimensions is a class of Dagster's own
    if context.has_partition_key_range:
        return _partition(context.partition_keys, partitions)
    return None


def _of_io(context: dg.InputContext | dg.OutputContext) -> tuple[tuple[str, ...], str | None]:
    if not context.has_asset_key:  # what goes from op to op
        return _of_step_around(context)
    partition = None
    if context.has_asset_partitions:
        partition = _partition(context.asset_partition_keys, context.asset_partitions_def)
    return _names({context.asset_key}), partition


def _of_step_around(context: dg.InputContext | dg.OutputContext) -> tuple[tuple[str, ...], str | None]:
    try:
        return _of_step(dg.OpExecutionContext(context.step_context))
    except dg.DagsterInvariantViolationError:  # it was built for a test, around nothing
        return (), None


def _names(keys: set[dg.AssetKey]) -> tuple[str, ...]:
    return tuple(sorted(key.to_user_string() for key in keys))


def _partition(keys: Sequence[str], partitions: dg.PartitionsDefinition[Any] | None) -> str | None:
    """Windows of time that follow each other are told by the first and the last; of others no order can be relied on."""
    if not keys:
        return None
    named = sorted(map(str, keys))
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition) and _are_all_between(named, partitions):
        return named[0] if len(named) == 1 else f"{named[0]}...{named[-1]}"
    more = len(named) - _MOST_PARTITIONS
    return ", ".join(named[:_MOST_PARTITIONS]) + (f" and {more} more" if more > 0 else "")


def _are_all_between(keys: Sequence[str], partitions: dg.TimeWindowPartitionsDefinition) -> bool:
    """Whether these are all the windows from the first to the last, in the order that ISO dates have as texts."""
    try:
        return list(partitions.get_partition_keys_in_range(dg.PartitionKeyRange(keys[0], keys[-1]))) == list(keys)
    except Exception:  # noqa: BLE001 - one is no window of these: what goes on record may not fail what it is about
        return False
