"""The tree that a configuration is read into: plain values, and for each the file and line it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from credbroker.errors import ConfigurationError

MAX_DEPTH = 64
MAX_NODES = 50_000
"""With every alias counted as often as it is used: nine levels of nine aliases are a kilobyte, and 400 million nodes."""

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One value.

    ``line`` counts from 1 and is that of the key, where there is one; 0 is no file. ``size`` and ``height`` are those of the
    whole tree below.
    """

    value: object
    file: str = ""
    line: int = 0
    size: int = 1
    height: int = 1

    @classmethod
    def of_map(cls, entries: Mapping[str, Node], file: str = "", line: int = 0) -> Node:
        """A map from texts to nodes."""
        return cls(dict(entries), file, line, *_extent(entries.values()))

    @classmethod
    def of_list(cls, items: Sequence[Node], file: str = "", line: int = 0) -> Node:
        """A list of nodes."""
        return cls(list(items), file, line, *_extent(items))

    @property
    def where(self) -> str:
        """``platform.yaml:12``, or nothing for what came from no file."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def at_line(self, line: int) -> Node:
        """The same value, found by its key at ``line``."""
        return replace(self, line=line)

    def entries(self) -> dict[str, Node]:
        """The entries of a map; of anything else, none."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Node]:
        """The items of a list; of anything else, none."""
        return self.value if isinstance(self.value, list) else []

    def children(self) -> Iterator[tuple[str | int, Node]]:
        """What stands directly below: keys or indices, and nodes."""
        yield from self.entries().items()
        yield from enumerate(self.items())

    def at(self, path: Path) -> Node:
        """The node at ``path``, or the deepest one on the way to it."""
        node = self
        for step in path:
            below = node.child(step)
            if below is None:
                return node
            node = below
        return node

    def find(self, path: Path) -> Node | None:
        """The node at exactly ``path``."""
        node: Node | None = self
        for step in path:
            node = node.child(step) if node is not None else None
        return node

    def child(self, step: str | int) -> Node | None:
        """The node directly below, at that key or index."""
        if isinstance(step, str):
            return self.entries().get(step)
        items = self.items()
        return items[step] if step < len(items) else None

    def plain(self) -> object:
        """The value as plain maps, lists and scalars. A null entry of a map is left out: it is as good as absent."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.entries().items() if child.value is not None}
        if isinstance(self.value, list):
            return [child.plain() for child in self.items()]
        return self.value

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Every node of the tree, with its path."""
        yield path, self
        for step, child in self.children():
            yield from child.walk((*path, step))


def _extent(children: Iterable[Node]) -> tuple[int, int]:
    size, height = 1, 1
    for child in children:
        size += child.size
        height = max(height, child.height + 1)
    return size, height


def merged(base: Node, over: Node) -> Node:
    """``over`` on top of ``base``: maps are merged entry by entry, all else is replaced. Each node keeps its place."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(base.entries())
    for key, node in over.entries().items():
        entries[key] = merged(entries[key], node) if key in entries else node
    return Node.of_map(entries, base.file, base.line)


def tree_of(data: Mapping[str, object]) -> Node:
    """The tree of what a program hands over instead of a file. Raises ``ConfigurationError`` over the bounds of a file."""
    return _grown(data, 1, [0])


def _grown(data: object, depth: int, count: list[int]) -> Node:
    count[0] += 1
    if depth > MAX_DEPTH:
        raise ConfigurationError(f"the configuration is nested deeper than {MAX_DEPTH} levels")
    if count[0] > MAX_NODES:
        raise ConfigurationError(f"the configuration has more than {MAX_NODES} values")
    if isinstance(data, Mapping):
        return Node.of_map({str(key): _grown(value, depth + 1, count) for key, value in data.items()})
    if isinstance(data, list | tuple):
        return Node.of_list([_grown(item, depth + 1, count) for item in data])
    return Node(data)
