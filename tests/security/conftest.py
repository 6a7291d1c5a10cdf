from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that any logger says, at DEBUG, formatted with its traceback."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
