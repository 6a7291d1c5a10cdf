"""A binding of the sidecar in the tree, with the profile that it names: what the rules of bindings are about."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from credbroker.config.faults import Fault
from credbroker.config.keys import PROFILES
from credbroker.config.sections import ProfileConfig, StorageConfig
from credbroker.config.tree import Node, Path
from credbroker.location import Location

BINDINGS: Path = ("sidecar", "bindings")
SECTIONS = {"storage": "storage", "catalog": "catalogs", "compute": "compute"}
"""The keys by which a binding names its profile, and the sections of the profiles."""


@dataclass(frozen=True, slots=True)
class Target:
    """A profile that bindings name. ``node`` is None where there is none, ``config`` for one that has faults of its own."""

    section: str
    name: str
    node: Node | None
    config: ProfileConfig | None
    locations: tuple[Location, ...] = ()
    """Those of a storage profile."""
    store: str | None = None

    @property
    def mode(self) -> object:
        """The mode; None where the profile says nothing of credentials."""
        credentials = self.config.credentials if self.config is not None else None
        return credentials.mode if credentials is not None else None


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding. ``key`` is one of ``SECTIONS``; None where it names no profile, or more than one."""

    tree: Node
    name: str
    node: Node
    key: str | None
    target: Target | None

    @property
    def path(self) -> Path:
        """Where it stands."""
        return (*BINDINGS, self.name)

    def value(self, key: str) -> object:
        """What stands at ``key``; None for nothing."""
        return self.node.entries().get(key, Node(None)).value

    def items(self, key: str) -> list[tuple[Path, Node]]:
        """The items of the list at ``key``, each with its path."""
        found = self.node.entries().get(key, Node(None)).items()
        return [((*self.path, key, index), item) for index, item in enumerate(found)]

    def fault(self, text: str, *steps: str | int) -> Fault:
        """A fault of the binding, or of what stands below it."""
        path = (*self.path, *steps)
        return Fault(self.tree.at(path), path, text)

    def subject(self) -> str | None:
        """What it hands out, by the names that ``SERVES`` and ``FORMS`` have for it; None where that cannot be told."""
        if self.target is None or self.target.config is None:
            return None
        if self.key == "storage":
            return self.target.store
        if self.key == "catalog" and self.value("table") is not None:
            return "table"
        # Glue and S3 Tables are asked with the keys of a role, and have no token.
        return "aws-catalog" if self.key == "catalog" and self.target.mode == "iam_role" else self.key


def bounds(tree: Node) -> list[Bound]:
    """Every binding, one without anything in it too."""
    found = []
    targets: dict[Path, Target] = {}
    for name, node in (tree.find(BINDINGS) or Node(None)).entries().items():
        if node.value is not None and not isinstance(node.value, dict):
            continue  # the field's own check says so
        named = [key for key in SECTIONS if node.entries().get(key, Node(None)).value is not None]
        key = named[0] if len(named) == 1 else None
        profile = node.entries()[key].value if key is not None else None
        target = None
        if key is not None and isinstance(profile, str):
            section = SECTIONS[key]
            target = targets.get((section, profile)) or _target(tree, section, profile)
            targets[section, profile] = target
        found.append(Bound(tree, name, node, key, target))
    return found


def _target(tree: Node, section: str, name: str) -> Target:
    node = tree.find((section, name))
    if node is None:
        return Target(section, name, None, None)
    try:
        config = PROFILES[section].model_validate({} if node.value is None else node.plain())
    except ValidationError:
        return Target(section, name, node, None)
    if not isinstance(config, StorageConfig):
        return Target(section, name, node, config)
    return Target(section, name, node, config, config.allowed(), config.store())
