"""Who asks, as Dagster knows it: the run, for whom it runs, and what of its job is being made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from credbroker.request import Lineage


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
    partition = None
    if context.has_partition_key:
        partition = context.partition_key
    elif context.has_partition_key_range:
        partition = _range(context.partition_key_range.start, context.partition_key_range.end)
    if not context.has_assets_def:
        return (), partition
    checked = {check.asset_key for check in context.selected_asset_check_keys}
    return _names({*context.selected_asset_keys, *checked}), partition


def _of_io(context: dg.InputContext | dg.OutputContext) -> tuple[tuple[str, ...], str | None]:
    assets = {context.asset_key} if context.has_asset_key else set()
    partitions = context.asset_partition_keys if context.has_asset_partitions else ()
    return _names(assets), _range(partitions[0], partitions[-1]) if partitions else None


def _names(keys: set[dg.AssetKey]) -> tuple[str, ...]:
    return tuple(sorted(key.to_user_string() for key in keys))


def _range(start: str, end: str) -> str:
    return start if start == end else f"{start}...{end}"
