"""Where S3 requests go, and how: always said, so that no client looks for it in the environment (``AWS_ENDPOINT_URL``)."""

from __future__ import annotations

from typing import NamedTuple

from credbroker.config.settings import NetworkSettings
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.integrations.reach import check_host, proxy_for

_CHINA = "cn-"


class Endpoint(NamedTuple):
    """A store's URL, its region, whether the bucket stands in the host name, and the proxy and CA bundle to use."""

    url: str
    region: str
    virtual: bool
    proxy: str | None
    ca_file: str | None


def endpoint_of(credentials: S3Credentials, bucket: str, network: NetworkSettings) -> Endpoint:
    """The credential's own endpoint (path style), else AWS's for its region (AWS General Reference, "Amazon S3 endpoints").

    Raises ``ConfigurationError`` where neither an endpoint nor a region is known, or ``network.allowed_hosts`` lacks it.
    """
    if credentials.endpoint is not None:
        url, region, virtual = credentials.endpoint, credentials.region or "us-east-1", False
    else:
        url, region = _of_aws(credentials.region, bucket)
        # A bucket's dot would make a host that the wildcard certificate does not cover.
        virtual = "." not in bucket
    check_host(network, url)
    return Endpoint(url, region, virtual, proxy_for(network, url), network.ca_file)


def _of_aws(region: str | None, bucket: str) -> tuple[str, str]:
    if region is None:
        raise ConfigurationError(f"neither an endpoint nor a region is known for s3://{bucket}: set 'region' there")
    suffix = "amazonaws.com.cn" if region.startswith(_CHINA) else "amazonaws.com"
    return f"https://s3.{region}.{suffix}", region
