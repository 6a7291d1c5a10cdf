from __future__ import annotations

import pytest
from pydantic import SecretStr

from credbroker import S3Credentials
from credbroker.config.settings import NetworkSettings
from credbroker.errors import ConfigurationError
from credbroker.integrations.endpoint import Endpoint, endpoint_of
from credbroker.integrations.reach import check_host, proxy_for

ANYWHERE = NetworkSettings()


def keys(region: str | None = None, endpoint: str | None = None) -> S3Credentials:
    return S3Credentials("id", SecretStr("secret"), region=region, endpoint=endpoint)


@pytest.mark.parametrize(
    ("credentials", "bucket", "expected"),
    [
        (keys("eu-1", "http://store:9000"), "lake", ("http://store:9000", "eu-1", False)),
        (keys(None, "http://store:9000"), "lake", ("http://store:9000", "us-east-1", False)),
        (keys("eu-west-1"), "lake", ("https://s3.eu-west-1.amazonaws.com", "eu-west-1", True)),
        (keys("eu-west-1"), "my.lake", ("https://s3.eu-west-1.amazonaws.com", "eu-west-1", False)),
        (keys("cn-north-1"), "lake", ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", True)),
    ],
)
def test_an_endpoint_is_always_said(credentials: S3Credentials, bucket: str, expected: tuple[str, str, bool]) -> None:
    assert endpoint_of(credentials, bucket, ANYWHERE) == Endpoint(*expected, proxy=None, ca_file=None)


def test_without_endpoint_and_region_there_is_no_guess() -> None:
    with pytest.raises(ConfigurationError, match="neither an endpoint nor a region"):
        endpoint_of(keys(), "lake", ANYWHERE)


def test_the_network_section_holds_for_the_store_too() -> None:
    network = NetworkSettings(proxy="http://proxy:3128", ca_file="/ca.pem", allowed_hosts=("*.amazonaws.com", "127.0.0.1"))
    assert endpoint_of(keys("eu-west-1"), "lake", network)[3:] == ("http://proxy:3128", "/ca.pem")
    assert endpoint_of(keys(None, "http://127.0.0.1:9000"), "lake", network).proxy is None
    with pytest.raises(ConfigurationError, match=r"'store\.example' is not in network\.allowed_hosts"):
        endpoint_of(keys(None, "https://store.example"), "lake", network)


def test_loopback_needs_no_proxy_and_hosts_are_free_where_none_is_listed() -> None:
    assert proxy_for(NetworkSettings(proxy="http://proxy:3128"), "http://localhost:1/x") is None
    check_host(ANYWHERE, "https://anywhere.example")
