"""The fingerprint of a configuration: what a worker must have the same as its driver."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from enum import Enum

from pydantic import BaseModel

from credbroker.config.credentials import CredentialsConfig
from credbroker.config.platform import PlatformConfig
from credbroker.config.secret_backends import BackendConfig

# None of them changes what is issued, to whom, or what is recorded of it.
_LEFT_OUT = frozenset({"version", "observability", "sidecar"})


def fingerprint(config: PlatformConfig) -> str:
    """SHA-256, in hex, over the canonical form of all that bears on credentials. It reads no file name and no key order."""
    content = {key: _canonical(getattr(config, key)) for key in PlatformConfig.model_fields if key not in _LEFT_OUT}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: object) -> object:
    if isinstance(value, BaseModel):
        fields = {key: _canonical(getattr(value, key)) for key in type(value).model_fields}
        # A plug-in's own keys count; floe's and unknown ones do not.
        extra = value.model_extra if isinstance(value, CredentialsConfig | BackendConfig) else None
        return {**fields, **{f"+{key}": _canonical(item) for key, item in (extra or {}).items()}}
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, timedelta):
        return f"{value // timedelta(milliseconds=1)}ms"
    if isinstance(value, Enum):
        return str(value.value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
