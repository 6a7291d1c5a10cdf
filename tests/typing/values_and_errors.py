"""The value classes and the errors as a user's type checker sees them. Checked, never run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from pydantic import SecretStr

from credbroker.credentials import AccessToken, S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable
from credbroker.location import Location
from credbroker.request import Access


def a_token(token: AccessToken) -> None:
    assert_type(token.value, SecretStr)
    assert_type(token.token_type, str)
    assert_type(token.scopes, frozenset[str])
    assert_type(token.expires_at, datetime | None)
    assert_type(token.authorization_header(), str)
    assert_type(token.fingerprint, str)
    token.token_type = "MAC"  # type: ignore[misc]  # values are frozen


def keys_for_s3(keys: S3Credentials) -> None:
    assert_type(keys.access_key_id, str)
    assert_type(keys.secret_access_key, SecretStr)
    assert_type(keys.session_token, SecretStr | None)
    assert_type(keys.locations, tuple[Location, ...] | None)
    assert_type(keys.access, Access | None)


def keys_of_a_table(table: TableCredentials) -> None:
    assert_type(table.for_location("s3://lake/sales/part-0.parquet"), StorageCredentials)


def an_error(error: CredbrokerError) -> None:
    assert_type(error.profile, str | None)
    assert_type(error.provider, str | None)
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, timedelta | None)
    if isinstance(error, IssueDenied):
        assert_type(error.grant_denied, bool)
    if isinstance(error, IssuerUnavailable):
        assert_type(error.default_retryable, bool)
