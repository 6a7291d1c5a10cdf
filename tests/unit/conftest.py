"""What several rooms need: a place in memory, as what lies on a disk may hold no token."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory of our own below /dev/shm."""
    path = Path(tempfile.mkdtemp(prefix="credbroker-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)
