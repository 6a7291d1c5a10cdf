"""The sidecar's own pages: is it alive, is each binding ready, what is its state, and its metrics. None holds a secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from credbroker.sidecar.app import Page, as_json
from credbroker.sidecar.bindings import Binding
from credbroker.sidecar.protocol import NO_STORE, Answer
from credbroker.wire.expiry import zulu

_NO_STORE = (NO_STORE,)


@dataclass
class State:
    """What the pages tell of the sidecar as a whole. ``bindings`` is replaced, never changed."""

    started_at: datetime
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    draining: bool = False
    paths: tuple[str, ...] = ()
    loaded_at: datetime | None = None
    fault: str | None = None
    """Why the latest reload was refused."""


def pages_of(state: State) -> Mapping[str, Page]:
    """Which path shows what."""
    metrics = _metrics_of(state)
    return {
        "/healthz": Page(lambda: Answer(200, as_json({"ok": True}), headers=_NO_STORE, last=True), by_token=False),
        "/readyz": Page(lambda: _ready(state), by_token=False),
        "/status": Page(lambda: Answer(200, as_json(report(state)), headers=_NO_STORE), by_token=True),
        "/metrics": Page(metrics, by_token=True),
    }


def report(state: State) -> dict[str, object]:
    """What ``/status`` shows."""
    return {
        "ok": True,
        "pid": os.getpid(),
        "started_at": zulu(state.started_at),
        "draining": state.draining,
        "config": {
            "paths": list(state.paths),
            "loaded_at": zulu(state.loaded_at) if state.loaded_at is not None else None,
            "fault": state.fault,
        },
        "bindings": [binding.report() for binding in state.bindings.values()],
        "refused": dict(state.refused),
    }


def _ready(state: State) -> Answer:
    states = {name: binding.state for name, binding in state.bindings.items()}
    ready = not state.draining and all(binding.is_ready for binding in state.bindings.values())
    return Answer(200 if ready else 503, as_json({"ready": ready, "bindings": states}), headers=_NO_STORE, last=True)


def _metrics_of(state: State) -> Callable[[], Answer]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(state))
    ProcessCollector(registry=registry)
    return lambda: Answer(200, generate_latest(registry), CONTENT_TYPE_LATEST, _NO_STORE)


class _Collected(Collector):
    """Reads what the bindings have counted. Labels are names of the configuration, protocols, statuses and our own codes."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "credbroker_answers", "Answers, by binding, protocol and status.", labels=("binding", "protocol", "status")
        )
        issues = CounterMetricFamily("credbroker_issues", "Values that were issued.", labels=("binding",))
        ready = GaugeMetricFamily("credbroker_binding_ready", "1 while a usable value is held.", labels=("binding",))
        left = GaugeMetricFamily(
            "credbroker_usable_seconds", "How much longer the held value is handed out.", labels=("binding",)
        )
        failures = GaugeMetricFamily("credbroker_failures_in_a_row", "Issues that failed since.", labels=("binding",))
        for name, binding in self._state.bindings.items():
            told = binding.report()
            for (protocol, status), count in tuple(binding.answers.items()):
                answers.add_metric((name, protocol, str(status)), count)
            issues.add_metric((name,), binding.issues)
            ready.add_metric((name,), float(binding.is_ready))
            if isinstance(told["left"], float):
                left.add_metric((name,), told["left"])
            failures.add_metric((name,), float(str(told["failures"])))
        refused = CounterMetricFamily("credbroker_refusals", "Requests that were refused, by reason.", labels=("reason",))
        for reason, count in tuple(self._state.refused.items()):
            refused.add_metric((reason,), count)
        sound = GaugeMetricFamily("credbroker_configuration_sound", "0 while the latest reload was refused.")
        sound.add_metric((), float(self._state.fault is None))
        yield from (answers, issues, ready, left, failures, refused, sound)
