"""The fields of a YAML text with their places, and all else that stands in it, for a scan that must miss nothing.

It follows the parser's events over any number of documents, builds and resolves nothing, and expands no alias, so it costs
what the text is long. Where the text is no YAML, what comes from there on is left to be looked through line by line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from credbroker.config.tree import MAX_DEPTH, Path

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_NAME = ""
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
_BREAK = re.compile("\r\n|[\r\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Field:
    """One scalar. ``line`` is that of its key, where there is one, ``last`` the last one of its value; both from 1."""

    document: int
    path: Path
    line: int
    last: int
    text: str = field(repr=False)
    plain: bool
    """Written without quotes, so that it may be a number or a truth value."""
    is_key: bool = False
    """The text is a key; ``path`` is that of the map it stands in."""


@dataclass(slots=True)
class _Level:
    """A map or list that is open. ``step`` is where in it the parser stands."""

    is_map: bool
    is_key: bool = False
    step: str | int = _NO_NAME
    line: int = 0
    expects_key: bool = True


class Fields:
    """What stands in a YAML text.

    ``found`` are its fields and keys. ``rest`` are the lines of the text, blank where a field or a key stands: what is left
    are comments, anchors and tags. ``broken_from`` is the line from which on the text is no YAML (or nested too deep), so
    that its lines in ``rest`` are whole and nothing of them is in ``found``; None where all is well.
    """

    def __init__(self, text: str) -> None:
        self.found: list[Field] = []
        self.broken_from: int | None = None
        # All that YAML 1.1 (section 4.2) breaks lines at, as one, so that the parser counts lines as we do.
        self._text = _BREAK.sub("\n", text)
        self._spans: list[tuple[int, int]] = []
        self._levels: list[_Level] = []
        self._document = 0
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                self._take(event)
        except (yaml.YAMLError, _TooDeepError):
            self._give_up()
        self.rest = self._blanked().split("\n")

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._document += 1
            self._levels = []
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._advance("*", _line(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            is_key = self._levels[-1].is_map and self._levels[-1].expects_key if self._levels else False
            if len(self._levels) >= MAX_DEPTH:
                raise _TooDeepError
            is_map = isinstance(event, yaml.MappingStartEvent)
            self._levels.append(_Level(is_map, is_key, _NO_NAME if is_map else 0))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._levels.pop()
            self._advance(_NO_NAME, _line(event))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        text = str(event.value)
        level = self._levels[-1] if self._levels else None
        is_key = level is not None and level.is_map and level.expects_key
        steps = self._levels[:-1] if is_key else self._levels
        line = level.line if level is not None and level.is_map and not is_key else _line(event)
        # A plain multi-line scalar ends where its text does, a block scalar at the start of the line after it.
        last = max(line, event.end_mark.line + (1 if event.end_mark.column else 0)) if event.end_mark is not None else line
        path = tuple(step.step for step in steps)
        self.found.append(Field(self._document, path, line, last, text, not event.style, is_key))
        self._spans.append(self._span(event))
        self._advance(text, _line(event))

    def _span(self, event: yaml.ScalarEvent) -> tuple[int, int]:
        start, end = (event.start_mark.index, event.end_mark.index) if event.start_mark and event.end_mark else (0, 0)
        if event.style in ("|", ">"):  # behind the indicator there may be a comment
            line_end = self._text.find("\n", start)
            start = end if line_end < 0 else min(end, line_end)
        elif event.anchor is not None or event.tag is not None:  # their place is that of the scalar
            properties = _PROPERTIES.match(self._text, start)
            start = start if properties is None else min(end, properties.end())
        return start, end

    def _advance(self, text: str, line: int) -> None:
        """One node of the open map or list is complete."""
        if not self._levels:
            return
        level = self._levels[-1]
        if not level.is_map:
            level.step = int(level.step or 0) + 1
        elif level.expects_key:
            level.step, level.line, level.expects_key = text, line, False
        else:
            level.expects_key = True

    def _give_up(self) -> None:
        # The key of the last field may have come, and its value not: the line is looked through as a whole.
        cut = self.found[-1].line if self.found else 1
        kept = [index for index, found in enumerate(self.found) if found.last < cut]
        self.found = [self.found[index] for index in kept]
        self._spans = [self._spans[index] for index in kept]
        self.broken_from = cut

    def _blanked(self) -> str:
        pieces: list[str] = []
        at = 0
        for start, end in self._spans:
            pieces.append(self._text[at:start])
            pieces.append("\n" * self._text.count("\n", start, end) if "\n" in self._text[start:end] else " ")
            at = max(at, end)
        pieces.append(self._text[at:])
        return "".join(pieces)


class _TooDeepError(Exception):
    pass


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def key_of(path: Path) -> str:
    """The name that a field stands under: of an item, that of its list."""
    return next((step for step in reversed(path) if isinstance(step, str)), _NO_NAME)
