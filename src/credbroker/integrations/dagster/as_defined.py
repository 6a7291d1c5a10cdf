"""What a resource is, its definition says: a run's config may not say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from credbroker.errors import ConfigurationError


def check_as_defined(context: dg.InitResourceContext, kind: type, fields: Mapping[str, Any] | None = None) -> None:
    """Raise ``ConfigurationError`` where the run's config gives a field of ``kind`` anew; it names the field, and no value.

    ``fields`` are those that it is about, and what each is where the definition leaves it out; None: all that it gives.

    Dagster takes each field of a resource from a run's config, too, and ``{env: NAME}`` there is any variable of its
    process. Else whoever may launch a run could have the broker read a platform file of their own, which sends secrets to a
    host of their own, or have a secret put on record as a namespace.
    """
    try:
        definition = context.resource_def
    except dg.DagsterInvariantViolationError:  # built by hand, for a test or a notebook
        return
    if getattr(definition, "configurable_resource_cls", None) is not kind:
        return  # nested in another, where no run's config reaches it
    schema = definition.config_schema if definition is not None else None
    defined = schema.default_value if schema is not None and schema.default_provided else {}
    meant = defined if fields is None else {name: defined.get(name, value) for name, value in fields.items()}
    given = context.resource_config
    changed = [name for name, value in meant.items() if name in given and given[name] not in (value, _resolved(value))]
    if changed:
        raise ConfigurationError(
            f"the run's config changes {', '.join(changed)} of {kind.__name__}, which only its definition may say: remove "
            "the resource from the run's config (what is given there replaces all fields, those that are left out too)"
        )


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"env"}:
            return dg.EnvVar(value["env"]).get_value()
        return {name: _resolved(item) for name, item in value.items()}
    return [_resolved(item) for item in value] if isinstance(value, list) else value
