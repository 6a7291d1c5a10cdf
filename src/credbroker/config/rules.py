"""The rules that no single field can check: names, modes, plug-ins, references, literal secrets and unknown keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from credbroker.config.binding_rules import broken_bindings
from credbroker.config.credentials import MODES, RESERVED_MODES
from credbroker.config.environments import is_production
from credbroker.config.faults import Fault, nearest
from credbroker.config.keys import plugins_of, unknown_keys
from credbroker.config.literals import literals
from credbroker.config.references import PROFILE_SECTIONS, broken_references, colliding_secrets, profiles
from credbroker.config.secret_backends import TYPES, broken_backends
from credbroker.config.serving_rules import broken_serving
from credbroker.config.tree import Node, Path

__all__ = ["PROFILE_SECTIONS", "broken_rules"]

_PROFILE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,252}")  # floe's pattern
# What an issue is recorded as; `schema_changes` is floe's, and none of ours.
_NEEDED = ("authentication", "authorization", "data_access")
_PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def broken_rules(tree: Node) -> list[Fault]:
    """Every fault that shows only in the tree as a whole."""
    faults, _ = unknown_keys(tree)
    for rule in (
        _names,
        _plugins,
        _modes,
        _backends,
        _limits,
        _required_audit,
        broken_references,
        colliding_secrets,
        broken_bindings,
        broken_serving,
        literals,
    ):
        faults.extend(rule(tree))
    return faults


def _names(tree: Node) -> Iterator[Fault]:
    for section, name, node in profiles(tree):
        if not _PROFILE_NAME.fullmatch(name):
            yield Fault(node, (section, ""), "is no legal name of a profile: a letter, then letters, digits, '-' or '_'")


def _plugins(tree: Node) -> Iterator[Fault]:
    for index, node in enumerate(tree.entries().get("plugins", Node(None)).items()):
        path: Path = ("plugins", index)
        if node.value in RESERVED_MODES:
            yield Fault(node, path, f"is the built-in mode {node.value!r}, which no plug-in may replace: remove it")
        elif node.value in tuple(TYPES):
            yield Fault(node, path, f"is the built-in backend {node.value!r}, which no plug-in may replace: remove it")
        elif isinstance(node.value, str) and not _PLUGIN_NAME.fullmatch(node.value):
            yield Fault(node, path, "is no name of an entry point: lower-case letters, digits, '-' and '_'")


def _modes(tree: Node) -> Iterator[Fault]:
    known = {*MODES, *plugins_of(tree)} - {"catalog"}
    blocks: list[Path] = [(section, name, "credentials") for section, name, _ in profiles(tree)]
    for block in (*blocks, ("credentials",)):
        path: Path = (*block, "mode")
        mode = tree.find(path)
        if mode is not None and isinstance(mode.value, str) and mode.value not in known:
            if mode.value == "catalog":
                text = "is 'catalog', which is never named: a table's credentials come from its catalog by themselves"
                yield Fault(mode, path, f"{text}; use {', '.join(MODES)}")
                continue
            meant = nearest(mode.value, known)
            hint = f": did you mean {meant!r}?" if meant else f": use {', '.join(MODES)}, or list it under plugins"
            yield Fault(mode, path, f"is an unknown mode{hint}")


def _backends(tree: Node) -> Iterator[Fault]:
    return broken_backends(tree, plugins_of(tree))


def _limits(tree: Node) -> Iterator[Fault]:
    """A limit with nothing after it, as where all of its entries are commented out, would be no limit at all."""
    places: list[Path] = [
        ("network", "allowed_hosts"),
        *((section, name, "locations") for section, name, _ in profiles(tree)),
    ]
    for path in places:
        node = tree.find(path)
        if node is not None and node.value is None:
            yield Fault(node, path, "has nothing after it: write [] to allow nothing, or leave the key out")


def _required_audit(tree: Node) -> Iterator[Fault]:
    audit = tree.entries().get("audit", Node(None)).entries()
    environment = tree.entries().get("environment", Node(None)).value
    required = audit.get("required", Node(None)).value
    enabled, include = audit.get("enabled", Node(None)), audit.get("include", Node(None))
    if required is False or (required is None and not is_production(environment if isinstance(environment, str) else None)):
        return
    why = "'required' is true" if required else "'required' is true by default in production (no 'environment:' means that)"
    remedy = "set 'required: false' to issue without a record"
    if enabled.value is False:
        yield Fault(enabled, ("audit", "enabled"), f"is false while {why}, and no record can be made: {remedy}")
        return
    missing = [category for category in _NEEDED if category not in [item.value for item in include.items()]]
    if isinstance(include.value, list) and missing:
        yield Fault(include, ("audit", "include"), f"lacks {', '.join(missing)} while {why}: add them, or {remedy}")
