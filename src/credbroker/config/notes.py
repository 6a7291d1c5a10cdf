"""Warnings of a configuration: what loads, and yet is probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from credbroker.config.environments import is_misspelt, is_unknown
from credbroker.config.faults import Fault
from credbroker.config.keys import unknown_keys
from credbroker.config.platform import PlatformConfig
from credbroker.config.sidecar import REFRESHED_EARLY
from credbroker.config.tree import Node, Path
from credbroker.config.values import spoken

# Readers' windows: AWS SDKs 10 to 15 minutes, google-auth 3m45s, azure-identity 5 minutes, of what they take to be the end.
_SHORT = timedelta(minutes=20)
_STORAGE_ONLY = ("allow_unscoped", "allow_container_scope", "kms_keys", "policy_escapes")


def notes(config: PlatformConfig, tree: Node) -> tuple[str, ...]:
    """Every warning, in words, in the order of the file."""
    _, found = unknown_keys(tree)
    found = [*found, *_notes(config, tree)]
    return tuple(str(note) for note in sorted(found, key=lambda note: (note.node.file, note.node.line)))


def _notes(config: PlatformConfig, tree: Node) -> Iterator[Fault]:
    if config.credentials is not None:
        text = "stands at the top, where nothing uses it: put it under a profile in catalogs, storage or compute"
        yield _note(tree, ("credentials",), text)
    if is_misspelt(config.environment):
        yield _note(tree, ("environment",), "is taken for production: write 'production', or a name less like it")
    if is_unknown(config.environment):
        text = "says neither production nor what else (dev, test, staging, local ...): the rules of production do not hold"
        yield _note(tree, ("environment",), text)
    for name, catalog in config.catalogs.items():
        if not catalog.token_refresh_enabled:
            text = "is false and has no effect: a token is always replaced before it expires"
            yield _note(tree, ("catalogs", name, "token_refresh_enabled"), text)
    for name, storage in config.storage.items():
        unusable = storage.bucket and storage.locations is None and storage.bucket_location() is None
        if unusable and storage.type != "local":
            text = "cannot be read as a location, so that nothing may be asked of this profile: write 'locations:'"
            yield _note(tree, ("storage", name, "bucket"), text)
    yield from _without_effect(config, tree)
    yield from _too_short(config, tree)


def _too_short(config: PlatformConfig, tree: Node) -> Iterator[Fault]:
    for name, binding in config.sidecar.bindings.items() if config.sidecar is not None else ():
        eager = [protocol for protocol in binding.protocols if protocol in REFRESHED_EARLY]
        profiles = (
            config.storage.get(binding.storage or ""),
            config.catalogs.get(binding.catalog or ""),
            config.compute.get(binding.compute or ""),
        )
        life = next((profile.max_ttl for profile in profiles if profile is not None), _SHORT * 2)
        if eager and life <= _SHORT:
            text = (
                f"serves {', '.join(eager)}, whose clients refresh 5 to 15 minutes before the end, and the max_ttl of its "
                f"profile is {spoken(life)}: they would ask at every call; give the profile max_ttl: 1h"
            )
            yield _note(tree, ("sidecar", "bindings", name), text)


def _without_effect(config: PlatformConfig, tree: Node) -> Iterator[Fault]:
    for section, profiles in (("catalogs", config.catalogs), ("compute", config.compute)):
        for name, profile in profiles.items():
            for key in _STORAGE_ONLY:
                if key in profile.model_fields_set:
                    yield _note(tree, (section, name, key), "has no effect here: it belongs under storage")


def _note(tree: Node, path: Path, text: str) -> Fault:
    return Fault(tree.at(path), path, text)
