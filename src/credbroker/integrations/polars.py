"""What Polars is given, as ``credential_provider=`` and ``storage_options=`` of its scans, reads and sinks.

::

    from credbroker.integrations.polars import credential_provider, storage_options

    lake = broker.storage("lake", "s3://lake/sales")
    pl.scan_parquet(
        "s3://lake/sales/*.parquet", credential_provider=credential_provider(lake), storage_options=storage_options(lake)
    )

Give it both: without the options Polars would send the keys to AWS, whatever store they are for, and would look for the rest
in the environment. The shapes are those of Polars 1.34 to 2.1 (``polars.CredentialProviderFunction``), which calls its part
in this unstable; it takes a SAS from 1.39 on.
"""

from __future__ import annotations

from math import floor
from typing import Any
from urllib.parse import urlsplit

from credbroker.config.settings import NetworkSettings
from credbroker.credentials import ADLSCredentials, GCSCredentials, S3Credentials, StorageCredentials
from credbroker.integrations.endpoint import endpoint_of
from credbroker.integrations.reach import check_host, network_of, proxy_for
from credbroker.integrations.storage import blob_host, credentials_of, locations_of
from credbroker.location import Location
from credbroker.source import CredentialSource

_GOOGLE = "https://storage.googleapis.com"


class CredentialProvider:
    """Made by ``credential_provider``. Polars keeps an answer until the end that stands in it. Pickles as a reference."""

    def __init__(self, source: CredentialSource[Any]) -> None:
        self._source = source

    def __call__(self) -> tuple[dict[str, str], int | None]:
        # A value that is due for its refresh would be kept by Polars for as long as it lives.
        value = self._source.get(wait=True)
        end = self._source.told_end(value)
        return _words(credentials_of(self._source, value)), None if end is None else floor(end.timestamp())

    def __repr__(self) -> str:
        return f"<credential provider of {self._source!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return CredentialProvider, (self._source,)


def credential_provider(source: CredentialSource[Any]) -> CredentialProvider:
    """A callable that gives Polars the credentials of that moment, and their end in seconds since 1970, a little early.

    ``source`` is of a ``storage`` profile, or a table with one set of credentials. A call raises ``ConfigurationError`` for
    another source, and what ``CredentialSource.get`` raises; Polars passes it on.
    """
    return CredentialProvider(source)


def storage_options(source: CredentialSource[Any]) -> dict[str, str]:
    """Where the source's store is, and how it is reached: nothing secret, and nothing of it left to the environment.

    The first credentials are asked for here: a catalog says with a table's where they are for. Raises ``ConfigurationError``
    where neither an endpoint nor a region is known, or ``network.allowed_hosts`` lacks the host; and what
    ``CredentialSource.get`` raises.
    """
    value = source.get()
    return _place(credentials_of(source, value), locations_of(source, value), network_of(source))


def _words(held: StorageCredentials) -> dict[str, str]:
    if isinstance(held, GCSCredentials):
        return {"bearer_token": held.access_token.get_secret_value()}
    if isinstance(held, ADLSCredentials):
        return {"sas_token": held.sas_token.get_secret_value()}
    words = {
        "aws_access_key_id": held.access_key_id,
        "aws_secret_access_key": held.secret_access_key.get_secret_value(),
    }
    if held.session_token is not None:
        words["aws_session_token"] = held.session_token.get_secret_value()
    return words


def _place(held: StorageCredentials, locations: tuple[Location, ...], network: NetworkSettings) -> dict[str, str]:
    if isinstance(held, S3Credentials):
        return _s3(held, locations, network)
    if isinstance(held, GCSCredentials):
        return {"google_base_url": _GOOGLE, "google_skip_signature": "false", **_way(_GOOGLE, network)}
    url = f"https://{blob_host(locations)}"
    return {
        "azure_storage_account_name": held.account,
        "azure_endpoint": url,
        "azure_storage_use_emulator": "false",
        "azure_skip_signature": "false",
        **_way(url, network),
    }


def _s3(held: S3Credentials, locations: tuple[Location, ...], network: NetworkSettings) -> dict[str, str]:
    buckets = {location.bucket for location in locations}
    bucket = min(buckets)
    place = endpoint_of(held, bucket, network)
    virtual = place.virtual and len(buckets) == 1
    url = place.url.replace("https://", f"https://{bucket}.", 1) if virtual else place.url
    return {
        "aws_endpoint_url": url,
        "aws_endpoint_url_s3": url,  # this name wins over the other, and the environment has both
        "aws_region": place.region,
        "aws_virtual_hosted_style_request": str(virtual).lower(),
        "aws_skip_signature": "false",
        **_way(place.url, network),
    }


def _way(url: str, network: NetworkSettings) -> dict[str, str]:
    """How the store is reached."""
    check_host(network, url)
    proxy = proxy_for(network, url)
    # Only where a proxy is named does object_store not take that of the environment; so one is, and not used for this host.
    way = {"proxy_url": proxy} if proxy else {"proxy_url": url, "proxy_excludes": urlsplit(url).hostname or ""}
    return {"allow_http": str(url.startswith("http://")).lower(), "allow_invalid_certificates": "false", **way}
