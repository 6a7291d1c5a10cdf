"""The bounded YAML reader: from bytes to a tree of plain values with their lines, and nothing else.

It works on the parser's events and builds the tree itself, so that no tag can construct anything, a duplicate key or a depth
is seen when it comes, and an alias costs what it stands for. No error repeats the file: its line may hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from credbroker.config.faults import HIDDEN, Fault, looks_like_key
from credbroker.config.scalars import scalar
from credbroker.config.tree import MAX_DEPTH, MAX_NODES, Node, Path
from credbroker.errors import ConfigurationError

MAX_BYTES = 1024 * 1024
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.2 section 5.1, the characters that a stream may not contain.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAP_TAGS = frozenset({None, "!", "tag:yaml.org,2002:map"})
_LIST_TAGS = frozenset({None, "!", "tag:yaml.org,2002:seq"})
_MERGE = "<<"


def read_yaml(raw: bytes, file: str, repeated: list[Fault] | None = None) -> Node:
    """The map that a YAML file holds; an empty file is an empty map. ``file`` is the name that errors give it.

    ``repeated`` takes the duplicate keys, for a caller who refuses the file for them together with all else that is wrong.

    Raises ``ConfigurationError`` over 1 MiB, 64 levels or 50,000 values (aliases counted as often as they are used), for a
    duplicate key, a tag, more than one document, or broken syntax; with file, line and column, never with what stands there.
    """
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(f"{file}: is larger than 1 MiB")
    text = _decoded(raw, file)
    root, place = _parsed(text, file, repeated)
    if root is None:
        raise ConfigurationError(f"{place}: is not valid YAML: look at quotes, colons and indentation, here and above")
    if root.value is None:
        return Node.of_map({}, file, 1)
    if not isinstance(root.value, dict):
        raise ConfigurationError(f"{root.where}: must be a map of sections (catalogs:, storage:, ...), not a list or a text")
    return root


def _parsed(text: str, file: str, repeated: list[Fault] | None) -> tuple[Node | None, str]:
    try:
        return _Builder(text, file, repeated).document(), file
    except yaml.YAMLError as error:
        # Only its place is kept: PyYAML's text quotes the line, and an undefined alias or tag by its name.
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        return None, f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else file


def _decoded(raw: bytes, file: str) -> str:
    text: str | None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise ConfigurationError(f"{file}: is not UTF-8 text")
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        raise ConfigurationError(f"{file}:{line}: has a character that YAML does not allow (U+{ord(bad.group()):04X})")
    return text


class _Builder:
    def __init__(self, text: str, file: str, repeated: list[Fault] | None) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._file = file
        self._repeated = repeated
        self._path: Path = ()  # of the map or list that is being read
        self._anchors: dict[str, Node | None] = {}  # None: begun, and not complete yet
        self._count = 0

    def document(self) -> Node:
        root = Node(None, self._file, 1)
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refused(event, "a second document ('---') begins here: one file is one document")
                root = self._node(next(self._events), 1)
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._refused(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._counted(event, 1)
        anchor = self._anchor(event)
        line, _ = _place(event)
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event, event.tag, _MAP_TAGS)
            node = Node.of_map(self._entries(depth), self._file, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, event.tag, _LIST_TAGS)
            node = Node.of_list(self._items(depth), self._file, line)
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event), self._file, line)
        else:
            raise self._refused(event, "has no value here")
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _anchor(self, event: yaml.Event) -> str | None:
        anchor: str | None = getattr(event, "anchor", None)
        if anchor in self._anchors:
            raise self._refused(event, "defines an anchor a second time: give each its own name")
        if anchor is not None:
            self._anchors[anchor] = None
        return anchor

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise self._refused(event, "an alias names an anchor that is not complete before it")
        self._counted(event, node.size)
        if depth + node.height - 1 > MAX_DEPTH:
            raise self._refused(event, f"is nested deeper than {MAX_DEPTH} levels")
        return node

    def _entries(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] | None = None
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event)
            if key == _MERGE and isinstance(event, yaml.ScalarEvent) and not event.style:
                if merged is not None:
                    raise self._refused(event, "a second merge key '<<': write one with a list of maps")
                merged = self._merged(self._node(next(self._events), depth + 1), event)
                continue
            self._check_new(entries, key, event)
            node = self._below(key, next(self._events), depth).at_line(_place(event)[0])
            entries.setdefault(key, node)
        return {**(merged or {}), **entries}

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._below(len(items), event, depth))
        return items

    def _below(self, step: str | int, event: yaml.Event, depth: int) -> Node:
        above, self._path = self._path, (*self._path, step)
        node = self._node(event, depth + 1)
        self._path = above
        return node

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent) or not event.value:
            raise self._refused(event, "a key must be a text; a text that begins with '{', '[' or '*' needs quotes")
        self._check_tag(event, event.tag, frozenset({None, "!", "tag:yaml.org,2002:str"}))
        # As it is written: `on`, `5432` and `2024-01-01` are names here, whatever YAML 1.1 makes of them.
        return str(event.value)

    def _merged(self, given: Node, event: yaml.Event) -> dict[str, Node]:
        """The YAML merge key type: what the map itself says wins, then the earlier of the merged maps."""
        merged: dict[str, Node] = {}
        for source in given.items() if isinstance(given.value, list) else [given]:
            if not isinstance(source.value, dict):
                raise self._refused(event, "a merge key '<<' takes a map or a list of maps")
            for key, node in source.entries().items():
                merged.setdefault(key, node)
        return merged

    def _check_new(self, entries: dict[str, Node], key: str, event: yaml.Event) -> None:
        # Two readers of one file may each take another of the two: what a review saw is then not what runs.
        if key not in entries:
            return
        said = f"stands at line {entries[key].line} already: write each key once"
        if self._repeated is None:
            raise self._refused(event, f"the key {key if looks_like_key(key) else HIDDEN} {said}")
        line, column = _place(event)
        # What is no name is not shown, and yet each is a fault of its own.
        step = key if looks_like_key(key) else f"<{line}:{column}>"
        self._repeated.append(Fault(Node(None, self._file, line), (*self._path, step), said))

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        self._check_tag(event, event.tag, frozenset({None, "!", "tag:yaml.org,2002:str"}))
        plain, _ = event.implicit
        return scalar(event.value) if plain and event.tag is None and not event.style else event.value

    def _check_tag(self, event: yaml.Event, tag: str | None, allowed: frozenset[str | None]) -> None:
        if tag not in allowed:
            raise self._refused(event, "has a tag ('!...'), and tags are not read: write the value as it is")

    def _counted(self, event: yaml.Event, size: int) -> None:
        self._count += size
        if self._count > MAX_NODES:
            raise self._refused(event, f"has more than {MAX_NODES} values, with every alias counted as often as it is used")

    def _refused(self, event: yaml.Event, fault: str) -> ConfigurationError:
        line, column = _place(event)
        return ConfigurationError(f"{self._file}:{line}:{column}: {fault}")


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
