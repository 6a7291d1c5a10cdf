"""A forked child inherits no value, no lock and no thread, and works."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.concurrency.harness import PATIENCE, Bench

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forking is the test


def _in_child(work: object) -> str:
    """Fork, run ``work`` in the child, and return the text that it sends back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(int(PATIENCE))  # a deadlock in the child ends it, and the pipe with it
        try:
            text = str(work())  # type: ignore[operator]
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def test_a_child_holds_nothing_and_issues_for_itself() -> None:
    bench = Bench()
    slot = bench.slot()
    bench.get()

    def work() -> str:
        held = slot.held[0]
        return f"{held} {len(bench.engine.slots())} {slot.live} {bench.get()} {threading.active_count() > 0}"

    assert _in_child(work) == "None 0 False token-2 True"
    assert bench.get() == "token-1"


def test_a_fork_in_the_middle_of_a_flight_with_the_lock_held_deadlocks_nobody() -> None:
    bench = Bench()
    bench.issuer.hold()
    (asker,) = bench.in_threads(1)
    bench.issuer.wait_for_calls(1)

    def work() -> str:
        bench.issuer._gate.set()
        return bench.get()

    with bench.engine._lock:
        text = _in_child(work)
    assert text == "token-2"
    bench.issuer.release()
    assert asker.result() == "token-1"
