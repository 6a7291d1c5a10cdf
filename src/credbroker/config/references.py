"""What points elsewhere: profiles that name profiles, and secrets that map to one environment variable."""

from __future__ import annotations

import re
from collections.abc import Iterator

from credbroker.config.faults import MOST, Fault, is_name, nearest, spelled
from credbroker.config.tree import Node, Path
from credbroker.secrets.env import variable_of

PROFILE_SECTIONS = ("catalogs", "storage", "compute")
_READ = (*PROFILE_SECTIONS, "credentials", "secret_backends", "audit")
_SECRET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,252}")
_Profile = tuple[str, str]


def broken_references(tree: Node) -> Iterator[Fault]:
    """References to profiles that are not there, or that lead back to where they began."""
    edges: dict[_Profile, list[tuple[_Profile, Path]]] = {}
    broken = 0
    for section, name, profile in profiles(tree):
        for path, node, sections in _named(section, (section, name), profile):
            if not isinstance(node.value, str):
                continue  # the field's own check says so
            targets = [(other, node.value) for other in sections if node.value in _names(tree, other)]
            if not targets:
                broken += 1
                # To find the name that was meant takes as long as there are names, and only so many faults are shown.
                more = hint(node.value, tree, sections) if broken <= MOST else ""
                yield Fault(node, path, f"names no profile under {', '.join(sections)}{more}")
            # Of several profiles of that name the one in the first section is meant: the own one.
            edges.setdefault((section, name), []).extend((target, path) for target in targets[:1])
    yield from _circles(edges, tree)


def colliding_secrets(tree: Node) -> Iterator[Fault]:
    """Different secrets that read one environment variable: whichever is set there would be sent as the other too."""
    first: dict[str, str] = {}
    for section in _READ:
        for path, node in tree.entries().get(section, Node(None)).walk((section,)):
            name = node.value
            if path[-1] not in ("secret_ref", "next") or not isinstance(name, str) or not _SECRET.fullmatch(name):
                continue
            variable = variable_of(name)
            other = first.setdefault(variable, name)
            if other != name:
                text = f"and the secret {other!r} both read the environment variable {variable}: rename one"
                yield Fault(node, path, text)


def profiles(tree: Node) -> Iterator[tuple[str, str, Node]]:
    """Every profile: section, name, node."""
    for section in PROFILE_SECTIONS:
        for name, profile in tree.entries().get(section, Node(None)).entries().items():
            yield section, name, profile


def _named(section: str, path: Path, profile: Node) -> Iterator[tuple[Path, Node, tuple[str, ...]]]:
    if section == "catalogs" and "storage" in profile.entries():
        storage = profile.entries()["storage"]
        for index, item in enumerate(storage.items()):
            yield (*path, "storage", index), item, ("storage",)
        if not storage.items():
            yield (*path, "storage"), storage, ("storage",)
    own_first = (section, *(other for other in PROFILE_SECTIONS if other != section))
    for below in (("source_profile",), ("subject_token", "profile"), ("client_assertion", "profile")):
        full: Path = ("credentials", *below)
        node = profile.find(full)
        if node is not None:
            yield (*path, *full), node, own_first


def _names(tree: Node, section: str) -> dict[str, Node]:
    return tree.entries().get(section, Node(None)).entries()


def hint(name: str, tree: Node, sections: tuple[str, ...]) -> str:
    """What to add where a profile is named that does not exist: the name that was probably meant, or those there are."""
    known = sorted({known for section in sections for known in _names(tree, section) if is_name(known)})
    meant = nearest(name, known)
    if meant:
        return f": did you mean {meant!r}?"
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f": there are {', '.join(known[:MOST])}{more}" if known else ": there is none at all"


def _circles(edges: dict[_Profile, list[tuple[_Profile, Path]]], tree: Node) -> Iterator[Fault]:
    done: set[_Profile] = set()
    for start in edges:
        trail: list[_Profile] = []
        # Depth first with a stack of our own: a chain may be longer than Python's.
        stack: list[tuple[_Profile, Path | None]] = [(start, None)]
        while stack:
            profile, path = stack.pop()
            if path is None and profile in trail:
                trail.remove(profile)
                done.add(profile)
                continue
            if path is not None and profile in trail:
                names = " -> ".join(spelled(step) for step in (*trail[trail.index(profile) :], profile))
                yield Fault(tree.at(path), path, f"leads back to its own profile: {names}")
                continue
            if profile in done:
                continue
            trail.append(profile)
            stack.append((profile, None))
            stack.extend(edges.get(profile, []))
