from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from credbroker.system import clock
from credbroker.system.clock import SystemClock

if TYPE_CHECKING:
    import pytest


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_elapsed_counts_the_time_in_suspend_where_the_machine_can_tell() -> None:
    reference = getattr(time, "CLOCK_BOOTTIME", None)
    before = time.monotonic() if reference is None else time.clock_gettime(reference)
    assert before <= clock.elapsed() <= before + 60


def test_elapsed_never_goes_back() -> None:
    readings = [clock.elapsed() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_hot_path_and_a_context_read_the_same_callable() -> None:
    assert SystemClock().elapsed is clock.elapsed
    assert SystemClock.elapsed is clock.elapsed


def test_a_sandbox_without_the_clock_falls_back_to_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> float:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(time, "clock_gettime", refuse)
    assert clock._elapsed() is time.monotonic


def test_two_readings_of_the_wall_are_close() -> None:
    system = SystemClock()
    assert abs(system.now() - system.now()) < timedelta(minutes=1)


def test_the_clock_loads_nothing_heavy() -> None:
    text = "import sys, credbroker.system.clock; print(*{'requests', 'urllib3', 'pydantic', 'ssl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
