from __future__ import annotations

import pytest

from credbroker.hosts import host_matches, is_link_local, is_loopback, url_fault

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


@pytest.mark.parametrize(
    "url",
    ["https://kms.internal", "https://kms.internal:8443/path/", "http://127.0.0.1:5000", "http://localhost", "http://[::1]"],
)
def test_secrets_go_over_https_or_to_this_machine(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://kms.internal", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("https://user:canary@kms.internal", "userinfo"),
        ("https://kms.internal?x=canary", "query"),
        ("https://kms.internal/#canary", "fragment"),
        ("https://kms.internal\\@evil", "backslash"),
        ("https://kms.\tinternal", "blank"),
        ("https://kms.internal:port", "port"),
        ("https://[::1", "no URL"),
        ("ftp://kms.internal", "https://"),
        ("kms.internal", "https://"),
        ("https://", "https://"),
    ],
)
def test_any_other_url_is_refused_and_not_repeated(url: str, fault: str) -> None:
    said = url_fault(url)
    assert said is not None
    assert fault in said
    assert "canary" not in said


def test_a_query_and_plain_http_pass_only_where_they_may() -> None:
    assert url_fault("https://issuer.internal/token?tenant=a", query=True) is None
    assert url_fault("http://issuer.internal/token", plain=True) is None
    assert url_fault("http://issuer.internal/#x", query=True, plain=True) is not None


@pytest.mark.parametrize("host", ["169.254.129.2", "169.254.169.254", "169.254.0.0", "169.254.255.255"])
def test_an_address_of_the_link_is_one(host: str) -> None:
    assert is_link_local(host)


@pytest.mark.parametrize("host", ["169.253.1.1", "169.255.0.1", "10.0.0.1", "169.254.1", "169.254.1.1.example", ""])
def test_no_other_host_is_of_the_link(host: str) -> None:
    assert not is_link_local(host)
