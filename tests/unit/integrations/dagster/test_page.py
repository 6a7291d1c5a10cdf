"""What docs/dagster.md shows of a test is one that passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[4] / "docs" / "dagster.md"


def test_the_test_that_is_shown_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGE.read_text().partition("## In tests")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    shown: dict[str, Any] = {"__name__": "shown"}
    exec(compile(block[1], str(PAGE), "exec", dont_inherit=True), shown)  # noqa: S102 - our own page
    shown["test_inbox"](tmp_path, monkeypatch)
