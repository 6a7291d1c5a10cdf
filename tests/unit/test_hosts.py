from __future__ import annotations

import pytest

from credbroker.hosts import host_matches, is_loopback

PATTERNS = ("polaris.internal", "*.amazonaws.com")


@pytest.mark.parametrize(
    "host", ["polaris.internal", "Polaris.Internal.", "sts.amazonaws.com", "sts.eu-west-1.AMAZONAWS.com"]
)
def test_a_listed_name_or_any_name_below_a_star_matches(host: str) -> None:
    assert host_matches(host, PATTERNS)


@pytest.mark.parametrize(
    "host",
    ["", ".", "amazonaws.com", ".amazonaws.com", "evilamazonaws.com", "a.polaris.internal", "sts.amazonaws.com.evil", "*"],
)
def test_nothing_else_matches(host: str) -> None:
    assert not host_matches(host, PATTERNS)


def test_no_pattern_matches_nothing() -> None:
    assert not host_matches("polaris.internal", ())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_known_by_its_text(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "2130706433", "127.1", ""])
def test_any_other_name_may_be_another_machine(host: str) -> None:
    assert not is_loopback(host)
