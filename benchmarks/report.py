"""What a run found: rows of figures, each beside its targets; a table for people, plain data for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda figure, limit: figure < limit,
    "≤": lambda figure, limit: figure <= limit,
    "≥": lambda figure, limit: figure >= limit,
    "=": lambda figure, limit: figure == limit,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What one figure of a row has to be."""

    figure: str
    sign: Literal["<", "≤", "≥", "="]
    limit: float

    def met(self, figures: Mapping[str, float]) -> bool:
        return _HOLDS[self.sign](figures[self.figure], self.limit)

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's figures. ``listed`` holds what is no number."""

    name: str
    figures: Mapping[str, float]
    targets: tuple[Target, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Target, ...]:
        return tuple(target for target in self.targets if not target.met(self.figures))

    def data(self) -> dict[str, object]:
        told: dict[str, object] = {"name": self.name, "figures": dict(self.figures)}
        if self.listed:
            told["listed"] = list(self.listed)
        if self.targets:
            told["targets"] = [
                {"figure": target.figure, "sign": target.sign, "limit": target.limit, "met": target.met(self.figures)}
                for target in self.targets
            ]
        return told


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one section. Columns are all the figures that its rows have."""

    title: str
    rows: Sequence[Row]
    section: str = ""

    @property
    def name(self) -> str:
        return self.section or self.title

    def __str__(self) -> str:
        columns = list(dict.fromkeys(figure for row in self.rows for figure in row.figures))
        cells = [[self.title, *columns, "target"]]
        cells += [[row.name, *(_number(row.figures.get(column)) for column in columns), _judged(row)] for row in self.rows]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        lines = [
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)),
                    line[-1],
                ]
            )
            for line in cells
        ]
        lines[1:1] = ["-" * max(map(len, lines))]
        return "\n".join(line.rstrip() for line in lines)


def _judged(row: Row) -> str:
    return ", ".join(f"{target} {'met' if target.met(row.figures) else 'MISSED'}" for target in row.targets)


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    if isinstance(figure, int) or (figure.is_integer() and figure >= 100):
        return f"{figure:,.0f}"
    return f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}"
