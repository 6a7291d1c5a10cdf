from __future__ import annotations

import pytest

from credbroker.config.scalars import scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("No", False),
        ("ON", True),
        ("tRue", "tRue"),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1.2.0", "1.2.0"),
        ("012345678901", "012345678901"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".nan", ".nan"),
        ("1e5", "1e5"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_plain_scalar_means_what_it_says(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
