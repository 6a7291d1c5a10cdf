"""One cell of the matrix of identities, in place: what is configured, who is asked, and how it is known to be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credbroker import Broker
from tests.servers.cells.opening import Ask, Opening

if TYPE_CHECKING:
    import pytest


@dataclass
class Scene:
    """A cell with its servers running. ``accepted`` raises where whoever takes the value would not."""

    opening: Opening
    ask: Ask
    asked: Callable[[], int]
    """How many requests the servers had so far."""
    accepted: Callable[[Broker, Any], None]
    further: Ask | None = None
    """What is asked of the same profile next; None: the same again, once all that is held was dropped."""
    between: Callable[[], None] = field(default=lambda: None)
    sdk: Callable[[], list[Callable[[], object]]] | None = None
    """What does the same by the vendor's SDK: the first issue, and a further one where its cost can be compared."""


@dataclass(frozen=True)
class Stage:
    """What a cell is set up with."""

    fixture: Callable[[str], Any]
    folder: Path
    patch: pytest.MonkeyPatch
    running: ExitStack
    """What is to be closed at the end."""


@dataclass(frozen=True)
class Cell:
    """``cost``: requests of a first issue, and of a further one; ``sdk``: the same of the vendor's SDK, where counted."""

    mode: str
    method: str
    cloud: str
    proof: str
    cost: tuple[int, int]
    kind: type
    set_up: Callable[[Stage], AbstractContextManager[Scene]]
    loads: frozenset[str] = frozenset()
    """The SDKs that an issue loads."""
    sdk: tuple[int, ...] = ()
    server: str = ""
    """Which of several servers the cell is shown at."""

    @property
    def row(self) -> tuple[str, str, str]:
        return self.mode, self.method, self.cloud

    def __str__(self) -> str:
        words = re.findall(r"\w+", " ".join((*self.row, self.server)))
        return "-".join(words)


Scenes = Iterator[Scene]
