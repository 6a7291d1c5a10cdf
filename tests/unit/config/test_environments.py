from __future__ import annotations

import pytest

from credbroker.config.environments import is_misspelt, is_production


@pytest.mark.parametrize("name", [None, "", "production", "Production", " prod ", "prd", "live"])
def test_production_by_its_names_and_where_nothing_is_said(name: str | None) -> None:
    assert is_production(name)
    assert not is_misspelt(name)


@pytest.mark.parametrize("name", ["prodution", "porduction", "productoin", "productions"])
def test_a_slip_of_the_pen_opens_nothing(name: str) -> None:
    assert is_production(name)
    assert is_misspelt(name)


@pytest.mark.parametrize(
    "name", ["local", "dev", "staging", "test", "preprod", "preproduction", "non-production", "sandbox", "ci"]
)
def test_other_names_are_not_production(name: str) -> None:
    assert not is_production(name)
    assert not is_misspelt(name)
