from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter

from credbroker import (
    Access,
    AccessToken,
    ADLSCredentials,
    DatabaseCredentials,
    GCSCredentials,
    S3Credentials,
    TableCredentials,
)
from credbroker.credentials import Credential
from credbroker.errors import AccessDenied
from credbroker.location import Location

CANARY = "canary-4f1d"
SECRET = SecretStr(CANARY)
END = datetime(2026, 1, 1, tzinfo=UTC)
SALES, FINANCE = Location.parse("s3://lake/sales"), Location.parse("s3://lake/finance")
S3 = S3Credentials("AKIA", SECRET, SECRET, expires_at=END, access=Access.READ)
VALUES: list[Credential] = [
    AccessToken(SECRET, expires_at=END),
    S3,
    GCSCredentials(SECRET),
    ADLSCredentials("account", SECRET),
    DatabaseCredentials("user", password=SECRET),
    DatabaseCredentials("user", private_key=SECRET),
    TableCredentials(((SALES, S3), (FINANCE, S3Credentials("B", SECRET, expires_at=END - timedelta(hours=1))))),
]


class Model(BaseModel):
    token: AccessToken


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_shows_nothing_and_is_not_carried_away(value: Credential) -> None:
    for text in (repr(value), str(value), f"{value}", f"{value!r:>3}"):
        assert CANARY not in text
        assert value.fingerprint in text
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="CredentialSource"):
            carry(value)  # type: ignore[operator]
    with pytest.raises(TypeError):
        json.dumps(value)
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    for dump in (adapter.dump_python, adapter.dump_json):
        with pytest.raises(Exception, match="CredentialSource") as caught:
            dump(value)
        assert CANARY not in str(caught.value)
    with pytest.raises((AttributeError, TypeError)):
        value.expires_at = None  # type: ignore[misc]
    assert not hasattr(value, "__dict__")
    assert CANARY not in repr(dataclasses.asdict(value) if not isinstance(value, TableCredentials) else "")


def test_a_model_may_hold_a_value_and_does_not_dump_it() -> None:
    model = Model(token=AccessToken(SECRET))
    assert CANARY not in repr(model)
    with pytest.raises(Exception, match="not serialised"):
        model.model_dump()


def test_a_fingerprint_tells_values_apart_and_holds_nothing() -> None:
    assert AccessToken(SECRET).fingerprint == AccessToken(SecretStr(CANARY)).fingerprint
    assert AccessToken(SECRET).fingerprint != AccessToken(SecretStr("other")).fingerprint
    assert S3Credentials("ab", SecretStr("c")).fingerprint != S3Credentials("a", SecretStr("bc")).fingerprint
    assert CANARY not in AccessToken(SECRET).fingerprint


def test_times_are_aware_and_in_utc() -> None:
    with pytest.raises(ValueError, match="aware"):
        AccessToken(SECRET, expires_at=datetime(2026, 1, 1))  # noqa: DTZ001 - the very thing that is refused
    local = AccessToken(SECRET, expires_at=datetime(2026, 1, 1, 10, tzinfo=timezone(timedelta(hours=10))))
    assert local.expires_at == END
    assert local.expires_at is not None
    assert local.expires_at.tzinfo is UTC


def test_a_plain_text_is_not_taken_for_a_secret() -> None:
    with pytest.raises(TypeError, match="SecretStr") as caught:
        AccessToken(CANARY)  # type: ignore[arg-type]
    assert CANARY not in str(caught.value)


def test_a_bearer_header_is_written_as_the_rfc_has_it() -> None:
    assert AccessToken(SECRET, token_type="bearer").authorization_header() == f"Bearer {CANARY}"
    assert AccessToken(SECRET, token_type="DPoP").authorization_header() == f"DPoP {CANARY}"


def test_a_tables_credentials_are_chosen_by_containment() -> None:
    table = VALUES[-1]
    assert isinstance(table, TableCredentials)
    assert table.expires_at == END - timedelta(hours=1)
    assert table.for_location("s3://lake/sales/a.parquet") is S3
    with pytest.raises(AccessDenied, match="outside"):
        table.for_location("s3://lake/sales2/a.parquet")
    assert table.access is None


def test_a_database_login_has_one_secret() -> None:
    with pytest.raises(ValueError, match="either"):
        DatabaseCredentials("user")
    with pytest.raises(ValueError, match="either"):
        DatabaseCredentials("user", password=SECRET, private_key=SECRET)
