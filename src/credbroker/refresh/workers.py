"""Workers: the few daemon threads that run flights.

Not a ``concurrent.futures`` executor: that one joins its threads when the interpreter ends, so an issuer that hangs would
keep the process alive, and it refuses work from then on.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("credbroker.refresh")

LIMIT = 8
MOST_ABANDONED = 56
"""Hung threads that are replaced. Beyond that they count as workers again: a process is not to be filled with threads."""
IDLE = 10.0  # seconds after which a thread without work ends


class Worker:
    """One thread. An abandoned one no longer counts: its flight is over, it ends when the provider lets it."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


class Workers:
    """Runs what is submitted, in order, on at most ``limit`` daemon threads that are started when they are needed."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._threads = 0
        self._abandoned = 0
        self._idle = 0
        self._queue: deque[Callable[[Worker], None]] = deque()
        self._ready = threading.Condition()

    def submit(self, work: Callable[[Worker], None]) -> bool:
        """Queue it. False, and nothing queued, if no thread runs and none can be started (limits, interpreter exit)."""
        if sys.is_finalizing():
            return False  # the interpreter ends: threads do not run any more, and exit waits for nothing
        with self._ready:
            self._queue.append(work)
            if self._idle >= len(self._queue):
                self._ready.notify()
                return True
            self._ready.notify()
            if self._threads >= self._limit:
                return True
            self._threads += 1
        # Outside the lock: a thread whose first act is to wait for it hands the interpreter back to a busy starter.
        if self._start():
            return True
        with self._ready:
            if self._threads == 0 and work in self._queue:
                self._queue.remove(work)
                return False
            return True

    def abandon(self, worker: Worker) -> None:
        """Its flight ended without it: let another thread take its place, so that a hung provider starves nobody."""
        with self._ready:
            if worker.abandoned or self._abandoned >= MOST_ABANDONED:
                return
            worker.abandoned = True
            self._abandoned += 1
            if not self._queue:
                self._threads -= 1
                return
        self._start()  # counted in its place

    def _start(self) -> bool:
        """Start a thread that is counted already."""
        thread = threading.Thread(target=_run, args=(self, Worker()), name="credbroker-worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self._ready:
                self._threads -= 1
            return False
        return True

    def take(self, worker: Worker) -> Callable[[Worker], None] | None:
        """The next piece of work; None where the thread is to end: after a while without any, or once abandoned."""
        with self._ready:
            if worker.abandoned:
                self._abandoned -= 1
                return None
            self._idle += 1
            try:
                if not self._queue and not self._ready.wait_for(lambda: self._queue, timeout=IDLE):
                    self._threads -= 1
                    return None
            finally:
                self._idle -= 1
            return self._queue.popleft()


def _run(workers: Workers, worker: Worker) -> None:
    while True:
        work = workers.take(worker)
        if work is None:
            return
        try:
            work(worker)
        except BaseException as error:  # noqa: BLE001 - a thread that dies uncounted would be missing for good
            logger.warning("a worker met %s and goes on", type(error).__name__)
        finally:
            del work  # an idle thread keeps no broker alive
