"""The secrets that a platform's profiles name, and whether looking for them asks a server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from credbroker.secrets.reference import SecretReference

if TYPE_CHECKING:
    from credbroker.config.settings import Platform

_LOCAL = frozenset({"env", "files"})


def secrets_of(platform: Platform) -> list[SecretReference]:
    """Each reference that a profile holds, once, in the order of the file; among them those that ask for a lease.

    What a backend, the audit or the sidecar needs for itself is not among them.
    """
    found: dict[SecretReference, None] = {}
    for profiles in (platform.catalogs, platform.storage, platform.compute):
        found.update(dict.fromkeys(_within(profiles)))
    return list(found)


def looked_up_here(platform: Platform) -> bool:
    """Whether every backend is the environment or this machine's files: to look there calls nobody and changes nothing."""
    return all(backend.type in _LOCAL for backend in platform.secret_backends)


def _within(value: object) -> Iterator[SecretReference]:
    if isinstance(value, SecretReference):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _within(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _within(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _within(getattr(value, field.name))
