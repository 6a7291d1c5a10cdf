"""The sidecar's settings, from a checked ``sidecar:`` section."""

from __future__ import annotations

from collections.abc import Mapping

from credbroker.config.faults import spelled
from credbroker.config.settings import BindingSettings, FileSettings, OnChange, SidecarSettings
from credbroker.config.sidecar import BindingConfig, FileConfig, OnChangeConfig, SidecarConfig
from credbroker.config.tree import Node, Path
from credbroker.location import Location
from credbroker.profile import StorageProfile
from credbroker.request import Kind


def sidecar_settings(
    config: SidecarConfig | None, tree: Node, storage: Mapping[str, StorageProfile]
) -> SidecarSettings | None:
    """The section as the sidecar reads it. ``storage`` has the only location of a profile, where a binding names none."""
    if config is None:
        return None
    host, port = config.listen
    return SidecarSettings(
        where=_place(tree, ("sidecar",)),
        directory=config.directory,
        listen_host=host,
        listen_port=port,
        reader_uids=tuple(dict.fromkeys(config.readers.uids)),
        reader_group=config.readers.group,
        rotate_tokens=config.rotate_tokens,
        requests_per_second=config.requests_per_second,
        bindings={name: _binding(name, binding, tree, storage) for name, binding in sorted(config.bindings.items())},
    )


def _binding(name: str, config: BindingConfig, tree: Node, storage: Mapping[str, StorageProfile]) -> BindingSettings:
    kind, profile = _subject(config)
    locations: tuple[Location, ...] = ()
    if kind == "storage":
        locations = tuple(dict.fromkeys(map(Location.parse, config.locations or ()))) or storage[profile].locations
    return BindingSettings(
        name=name,
        where=_place(tree, ("sidecar", "bindings", name)),
        kind=kind,
        profile=profile,
        table=config.table,
        locations=locations,
        access=config.access,
        scope=config.scope or None,
        audience=config.audience or None,
        protocols=tuple(config.protocols),
        files=tuple(map(_file, config.files)),
        on_change=_on_change(config.on_change),
    )


def _subject(config: BindingConfig) -> tuple[Kind, str]:
    if config.storage:
        return "storage", config.storage
    if config.catalog:
        return ("table" if config.table else "catalog"), config.catalog
    return "compute", config.compute or ""


def _file(config: FileConfig) -> FileSettings:
    return FileSettings(path=config.path, form=config.form, template=config.template, profile=config.profile or "default")


def _on_change(config: OnChangeConfig | None) -> OnChange | None:
    if config is None:
        return None
    return OnChange(signal=config.signal, pid_file=config.pid_file, command=config.command or ())


def _place(tree: Node, path: Path) -> str:
    return ": ".join(filter(None, (tree.at(path).where, spelled(path))))
