"""What a resource is, its definition says: a run's config may not say otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg

from credbroker.errors import ConfigurationError


def check_as_defined(context: dg.InitResourceContext, kind: type, fields: Iterable[str]) -> None:
    """Raise ``ConfigurationError``, which names the field and no value, where the run's config gives one of ``fields`` anew.

    Dagster takes each field of a resource from a run's config, too, and ``{env: NAME}`` there is any variable of its
    process. Else whoever may launch a run could have the broker read a platform file of their own, which sends secrets to a
    host of their own, or have a secret put on record as a namespace.
    """
    definition = context.resource_def
    if getattr(definition, "configurable_resource_cls", None) is not kind:
        return  # nested in another, where no run's config reaches it
    schema = definition.config_schema if definition is not None else None
    defined = schema.default_value if schema is not None and schema.default_provided else {}
    given = context.resource_config
    changed = [name for name in fields if given.get(name) != _resolved(defined.get(name))]
    if changed:
        raise ConfigurationError(
            f"the run's config changes {', '.join(changed)} of the broker's resource, which only its definition may say: "
            "remove it from 'resources' in the run's config"
        )


def _resolved(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"env"}:
        return dg.EnvVar(value["env"]).get_value()
    return [_resolved(item) for item in value] if isinstance(value, list) else value
