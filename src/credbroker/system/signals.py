"""Signals of the process, as something that the main thread waits for."""

from __future__ import annotations

import queue
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """While it is open, the signals are put into a queue instead of doing what they do. For the main thread only."""

    def __init__(self, wanted: Sequence[signal.Signals]) -> None:
        self._wanted = tuple(wanted)
        # A SimpleQueue may be put into from a handler, in whatever the handler has interrupted.
        self._caught: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self._before: dict[signal.Signals, Any] = {}

    def wait(self, seconds: float) -> signal.Signals | None:
        """The next signal; None if there is none for so long."""
        try:
            return self._caught.get(timeout=seconds)
        except queue.Empty:
            return None

    def __enter__(self) -> Self:
        for one in self._wanted:
            self._before[one] = signal.signal(one, self._catch)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught.put(signal.Signals(number))
