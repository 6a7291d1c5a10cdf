"""The table of ``credbroker status`` in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from credbroker.cli.status import duration, notes
from credbroker.cli.terminal import shown
from credbroker.sidecar.told_status import BindingStatus, Status

_COLOURS = {"fresh": "green", "stale": "yellow"}
# Columns of a terminal below which there is no room: for the profile; for the bar and the answers.
_NARROW, _NARROWEST = 80, 60


def table(status: Status, width: int, silence: str = "") -> RenderableType:
    """The whole picture for a terminal of ``width`` columns. ``silence``: why it is an old one.

    Errors stand below the table, where they have the whole width: a column of them would leave none to the others.
    """
    rows = Table(box=None, pad_edge=False)
    rows.add_column("binding", overflow="fold", style="bold", min_width=12)
    if width >= _NARROW:
        rows.add_column("profile", overflow="fold", min_width=8)
    rows.add_column("state", no_wrap=True)
    if width >= _NARROWEST:
        rows.add_column("left", no_wrap=True)
    rows.add_column("" if width >= _NARROWEST else "left", no_wrap=True, justify="right")
    rows.add_column("issues/h", no_wrap=True, justify="right")
    if width >= _NARROWEST:
        rows.add_column("answers", no_wrap=True, justify="right")
    for binding in status.bindings:
        rows.add_row(*_cells(binding, width))
    # What bears on all of it comes first: a low terminal cuts the end off.
    parts: list[RenderableType] = [Text(shown(silence), "bold red", overflow="fold")] if silence else []
    parts.extend(Text(shown(note), "yellow", overflow="fold") for note in notes(status))
    parts.append(rows)
    parts.extend(_error(binding) for binding in status.bindings if binding.error)
    return Group(*parts)


def _cells(binding: BindingStatus, width: int) -> list[RenderableType]:
    cells: list[RenderableType] = [Text(shown(binding.name))]
    if width >= _NARROW:
        cells.append(Text(shown(binding.profile)))
    cells.append(Text(shown(binding.state), _colour(binding)))
    if width >= _NARROWEST:
        cells.append(_bar(binding, 16 if width >= _NARROW else 6))
    cells += [Text(_left(binding)), Text(f"{binding.issues_last_hour:,}")]
    if width >= _NARROWEST:
        cells.append(Text(f"{binding.answers:,}"))
    return cells


def _colour(binding: BindingStatus) -> str:
    return _COLOURS.get(binding.state, "red")


def _bar(binding: BindingStatus, width: int) -> RenderableType:
    if not binding.ready or binding.left is None or not binding.life:
        return Text("")
    colour = _colour(binding)
    return ProgressBar(
        total=binding.life, completed=binding.left, width=width, complete_style=colour, finished_style=colour, style="dim"
    )


def _left(binding: BindingStatus) -> str:
    if not binding.ready:
        return "-"
    return "no end" if binding.left is None else duration(binding.left)


def _error(binding: BindingStatus) -> Text:
    row = f"{binding.failures} in a row" + (f", {binding.error_at}" if binding.error_at else "")
    return Text.assemble(
        (shown(binding.name), "bold"), ": ", (shown(binding.error), "red"), f" ({shown(row)})", overflow="fold"
    )
