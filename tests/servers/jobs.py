"""A job that runs beside the test, and waiting for what it brings about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

_PATIENCE = 30.0


class Job(threading.Thread):
    """Does the same again and again, as a pipeline does, and keeps what went wrong."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self.failures: list[BaseException] = []
        self._work = work
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            try:
                self._work()
            except BaseException as failure:
                self.failures.append(failure)
            self.done += 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(_PATIENCE)


def until(met: Callable[[], bool], within: float = _PATIENCE) -> None:
    """Wait for it; after so many seconds the test fails."""
    poll, started = threading.Event(), datetime.now(UTC)
    while not met():
        assert datetime.now(UTC) - started < timedelta(seconds=within), "it did not come to that"
        poll.wait(0.02)
