"""Unknown keys: faults where a misspelt key would weaken something, warnings in the sections that floe fills too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from credbroker.config.credentials import RESERVED_MODES, CredentialsConfig, SubjectTokenConfig
from credbroker.config.faults import Fault, unknown_key
from credbroker.config.secret_backends import TYPES
from credbroker.config.sections import (
    AuditConfig,
    CatalogConfig,
    ComputeConfig,
    NetworkConfig,
    ProfileConfig,
    StorageConfig,
)
from credbroker.config.sidecar import BindingConfig, FileConfig, OnChangeConfig, ReadersConfig, SidecarConfig
from credbroker.config.tree import Node, Path

PROFILES: dict[str, type[ProfileConfig]] = {"catalogs": CatalogConfig, "storage": StorageConfig, "compute": ComputeConfig}
TOP = frozenset(
    {"version", "environment", "principal", "network", "secret_backends", "plugins", "credentials", "audit", "observability"}
    | {"sidecar", *PROFILES}
)
# Keys of floe that say nothing about credentials; its own demo files use them all.
_FLOE_TOP = frozenset({"infrastructure", "security", "governance", "layers", "name", "description", "metadata", "defaults"})
_FLOE_PROFILE = frozenset(
    {"replication", "lifecycle", "high_availability", "namespace", "encryption", "versioning", "retention", "tags", "labels"}
    | {"description", "properties", "resources"}
)
# Without the key there is no such limit, or a wider one: a slip of the pen here must not pass.
_LIMITS = ("locations", "access", "max_ttl", "bucket")
_SLIP = 0.8


@dataclass(frozen=True, slots=True)
class _Place:
    """A map whose keys are known. Those in ``silent`` are none of ours, and none of the user's mistakes either."""

    path: Path
    node: Node
    known: frozenset[str]
    silent: frozenset[str] = frozenset()
    strict: bool = True

    def unknown(self) -> Iterator[tuple[str, Fault]]:
        """The keys that are not known, and what to say of each."""
        for key, node in self.node.entries().items():
            if key not in self.known and key not in self.silent:
                shown, text = unknown_key(key, node, self.known)
                yield key, Fault(node, (*self.path, shown), text)

    def is_limit(self, key: str) -> bool:
        """Whether an unknown key is nearly one of those that limit a profile."""
        limits = self.known.intersection(_LIMITS) if len(self.path) > 1 else ()
        return bool(get_close_matches(key.lower().replace("-", "_"), limits, n=1, cutoff=_SLIP))


def unknown_keys(tree: Node) -> tuple[list[Fault], list[Fault]]:
    """Unknown keys of the whole tree: those that are faults, and those that are worth a warning."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for place in _places(tree):
        for key, fault in place.unknown():
            (faults if place.strict or place.is_limit(key) else warnings).append(fault)
    return faults, warnings


def plugins_of(tree: Node) -> frozenset[str]:
    """The plug-ins that the file lists, as far as they can be read."""
    listed = tree.entries().get("plugins", Node(None)).items()
    return frozenset(node.value for node in listed if isinstance(node.value, str))


def _places(tree: Node) -> Iterator[_Place]:
    top = tree.entries()
    yield _Place((), tree, TOP, _FLOE_TOP, strict=False)
    for section, model in PROFILES.items():
        for name, profile in top.get(section, Node(None)).entries().items():
            path: Path = (section, name)
            yield _Place(path, profile, frozenset(model.model_fields), _FLOE_PROFILE, strict=False)
            yield from _credentials((*path, "credentials"), profile.entries().get("credentials"), plugins_of(tree))
    yield from _credentials(("credentials",), top.get("credentials"), plugins_of(tree))
    for section, known in (("network", NetworkConfig.model_fields), ("audit", AuditConfig.model_fields)):
        if section in top:
            yield _Place((section,), top[section], frozenset(known))
    yield from _sidecar(top.get("sidecar", Node(None)))
    for index, backend in enumerate(top.get("secret_backends", Node(None)).items()):
        yield from _backend(("secret_backends", index), backend)


def _sidecar(node: Node) -> Iterator[_Place]:
    path: Path = ("sidecar",)
    yield _Place(path, node, frozenset(SidecarConfig.model_fields))
    readers = node.entries().get("readers", Node(None))
    yield _Place((*path, "readers"), readers, frozenset(ReadersConfig.model_fields))
    for name, binding in node.entries().get("bindings", Node(None)).entries().items():
        below: Path = (*path, "bindings", name)
        yield _Place(below, binding, frozenset(BindingConfig.model_fields))
        on_change = binding.entries().get("on_change", Node(None))
        yield _Place((*below, "on_change"), on_change, frozenset(OnChangeConfig.model_fields))
        for index, file in enumerate(binding.entries().get("files", Node(None)).items()):
            yield _Place((*below, "files", index), file, frozenset(FileConfig.model_fields))


def _credentials(path: Path, node: Node | None, plugins: frozenset[str]) -> Iterator[_Place]:
    if node is None:
        return
    mode = node.entries().get("mode", Node("static")).value
    if not (isinstance(mode, str) and mode in plugins and mode not in RESERVED_MODES):
        yield _Place(path, node, frozenset(CredentialsConfig.model_fields))
    for key in ("subject_token", "client_assertion"):
        subject = node.entries().get(key)
        if subject is not None:
            yield _Place((*path, key), subject, frozenset(SubjectTokenConfig.model_fields))


def _backend(path: Path, node: Node) -> Iterator[_Place]:
    kind = node.entries().get("type", Node(None)).value
    keys = TYPES.get(kind) if isinstance(kind, str) else None
    if keys is None:
        return  # a plug-in's, whose keys are its own, or a type that nobody knows
    yield _Place(path, node, keys.known | {"type"})
    auth = node.entries().get("auth")
    method = auth.entries().get("method", Node(None)).value if auth is not None else None
    login = keys.auth.get(method) if isinstance(method, str) else None
    if auth is not None and login is not None:
        yield _Place((*path, "auth"), auth, login.known | {"method"})
