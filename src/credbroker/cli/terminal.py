"""Where a command prints: in a terminal by ``rich``, where that is installed; otherwise lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2


def console() -> Console | None:
    """A console, where standard output is a terminal and ``rich`` (extra ``cli``) is installed; else None: print lines."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(highlight=False)


def shown(text: object) -> str:
    """The text with everything escaped that a terminal would not show as itself.

    A name with U+202E in it would be read backwards, and another location would seem to be granted.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def print_fields(out: Console | None, fields: Sequence[tuple[str, str]]) -> None:
    """Names and values, a line each, the values below one another."""
    width = max((len(name) for name, _ in fields), default=0) + _GAP
    if out is None:
        for name, value in fields:
            print(f"{name:<{width}}{shown(value)}")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, _GAP))
    for name, value in fields:
        grid.add_row(Text(name, "dim"), Text(shown(value), overflow="fold"))
    out.print(grid)
