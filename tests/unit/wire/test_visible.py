from __future__ import annotations

import pytest

from credbroker.wire.visible import VISIBLE


@pytest.mark.parametrize("text", ["!", "~", "ASIA/+=%", "x" * 16_384])
def test_what_reaches_a_header_unchanged_is_taken(text: str) -> None:
    assert VISIBLE.fullmatch(text)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "\ta", "a\r\nX-Evil: 1", "a\x7f", "é", "x" * 16_385])
def test_anything_else_is_not(text: str) -> None:
    assert not VISIBLE.fullmatch(text)
