from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import SecretStr

from credbroker.credentials import Credential, GCSCredentials, S3Credentials, TableCredentials
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.wire.container_credentials import container_credentials

ENDS = datetime(2026, 11, 22, 20, 50, 59, 999_999, tzinfo=UTC)
KEYS = S3Credentials("ASIA", SecretStr("canary-secret"), SecretStr("canary-session"))
DATA, META = Location.parse("s3://lake/data/"), Location.parse("s3://lake/metadata/")


def test_a_part_of_a_second_is_cut_off() -> None:
    assert json.loads(container_credentials(KEYS, ENDS))["Expiration"] == "2026-11-22T20:50:59Z"


def test_a_table_with_one_set_of_keys_for_all_its_prefixes_is_told() -> None:
    same = S3Credentials("ASIA", SecretStr("canary-secret"), SecretStr("canary-session"), locations=(META,))
    told = container_credentials(TableCredentials(((DATA, KEYS), (META, same))), ENDS)
    assert told == container_credentials(KEYS, ENDS)


@pytest.mark.parametrize(
    ("value", "ends", "text"),
    [
        (S3Credentials("AKIA", SecretStr("canary-secret")), ENDS, "session token"),
        (KEYS, None, "that end"),
        (GCSCredentials(SecretStr("canary-token")), ENDS, "not GCSCredentials"),
        (TableCredentials(((DATA, GCSCredentials(SecretStr("canary-token"))),)), ENDS, "not GCSCredentials"),
        (TableCredentials(()), ENDS, "0 sets"),
        (
            TableCredentials(((DATA, KEYS), (META, S3Credentials("ASIA2", SecretStr("canary-x"), SecretStr("canary-y"))))),
            ENDS,
            "2 sets of keys",
        ),
    ],
)
def test_anything_else_is_refused_without_being_shown(value: Credential, ends: datetime | None, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        container_credentials(value, ends)
    assert "canary" not in str(caught.value)


def test_the_end_is_in_utc_whatever_the_zone() -> None:
    ends = datetime(2026, 11, 22, 22, 50, 0, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(container_credentials(KEYS, ends))["Expiration"] == "2026-11-22T20:50:00Z"
