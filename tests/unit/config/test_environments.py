from __future__ import annotations

import pytest

from credbroker.config.environments import is_misspelt, is_production, is_unknown


@pytest.mark.parametrize("name", [None, "", "production", "Production", " prod ", "prd", "live"])
def test_production_by_its_names_and_where_nothing_is_said(name: str | None) -> None:
    assert is_production(name)
    assert not is_misspelt(name)


@pytest.mark.parametrize("name", ["prodution", "porduction", "productoin", "productions"])
def test_a_slip_of_the_pen_opens_nothing(name: str) -> None:
    assert is_production(name)
    assert is_misspelt(name)


@pytest.mark.parametrize(
    "name",
    [
        *("prod-eu", "eu-prod", "prod1", "prod_us", "prd-1", "live-eu", "customer-production", "my-production-env"),
        *("PROD.EU", "eu prod 2", "dev-prod-copy", "premium-prod", "non-eu-prod"),
    ],
)
def test_a_name_with_a_word_of_productions_is_production(name: str) -> None:
    assert is_production(name)
    assert not is_misspelt(name)


def test_a_misspelt_word_in_a_name_opens_nothing() -> None:
    assert is_production("eu-prodution-2")
    assert is_misspelt("eu-prodution-2")


@pytest.mark.parametrize(
    "name",
    [
        *("local", "dev", "staging", "test", "sandbox", "ci", "k8s-local", "eu_test_2", "qa1", "UAT", "demo", "development"),
        *("preprod", "preproduction", "non-production", "pre-prod", "nonprod2", "non-prod-eu", "eu-preproduction"),
        *("eu-non-prod", "prelive"),
    ],
)
def test_other_names_are_not_production(name: str) -> None:
    assert not is_production(name)
    assert not is_misspelt(name)
    assert not is_unknown(name)


@pytest.mark.parametrize("name", ["acme", "eu-west-1", "2024", "olive", "delivery"])
def test_a_name_that_says_nothing_is_no_production_and_unknown(name: str) -> None:
    assert not is_production(name)
    assert is_unknown(name)


@pytest.mark.parametrize("name", [None, "", "prod-eu", "prodution"])
def test_production_is_not_unknown(name: str | None) -> None:
    assert not is_unknown(name)
