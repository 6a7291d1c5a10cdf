"""Storage credentials as an Iceberg REST catalog answers them, for the clients that refresh what a catalog vended.

Source: ``open-api/rest-catalog-open-api.yaml`` of Apache Iceberg, LoadCredentialsResponse. The names are those that
``iceberg_keys`` reads; Java's VendedCredentialsProvider, OAuth2RefreshCredentialsHandler and VendedAdlsCredentialProvider
need every one of a store's, with its end, and one set a bucket or account.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from credbroker.credentials import (
    ADLSCredentials,
    Credential,
    GCSCredentials,
    S3Credentials,
    StorageCredentials,
    TableCredentials,
)
from credbroker.errors import ConfigurationError
from credbroker.location import Location

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load_credentials(value: Credential, told_end: datetime, locations: tuple[Location, ...]) -> bytes:
    """The JSON object, each set of keys under each prefix that it is for.

    These are a table's own prefixes; else what the credential says that it was granted, or ``locations``, which were asked
    for. Raises ``ConfigurationError`` for what is no storage credential, and for S3 keys without a session token.
    """
    found = [
        {"prefix": str(prefix), "config": _config(keys, prefix, told_end)} for prefix, keys in _by_prefix(value, locations)
    ]
    return json.dumps({"storage-credentials": found}).encode()


def _by_prefix(value: Credential, locations: tuple[Location, ...]) -> Iterable[tuple[Location, StorageCredentials]]:
    if isinstance(value, TableCredentials):
        return value.by_location
    if not isinstance(value, S3Credentials | GCSCredentials | ADLSCredentials):
        raise ConfigurationError(
            f"iceberg-credentials serves storage credentials, not {type(value).__name__}: choose another protocol"
        )
    return [(prefix, value) for prefix in (locations if value.locations is None else value.locations)]


def _config(keys: StorageCredentials, prefix: Location, told_end: datetime) -> dict[str, str]:
    ends = str((told_end - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(keys, S3Credentials):
        return _s3(keys, ends)
    if isinstance(keys, GCSCredentials):
        return {"gcs.oauth2.token": keys.access_token.get_secret_value(), "gcs.oauth2.token-expires-at": ends}
    host = prefix.bucket.partition("@")[2]  # Java asks by the host of the file, not by the account's name alone
    return {f"adls.sas-token.{host}": keys.sas_token.get_secret_value(), f"adls.sas-token-expires-at-ms.{host}": ends}


def _s3(keys: S3Credentials, ends: str) -> dict[str, str]:
    if keys.session_token is None:
        raise ConfigurationError(
            "iceberg-credentials serves keys that end, with a session token: let the profile's mode be iam_role"
        )
    told = {
        "s3.access-key-id": keys.access_key_id,
        "s3.secret-access-key": keys.secret_access_key.get_secret_value(),
        "s3.session-token": keys.session_token.get_secret_value(),
        "s3.session-token-expires-at-ms": ends,
    }
    if keys.region is not None:
        told["client.region"] = keys.region
    if keys.endpoint is not None:
        told["s3.endpoint"] = keys.endpoint
    return told
