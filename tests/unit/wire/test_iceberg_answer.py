from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from credbroker.credentials import (
    AccessToken,
    ADLSCredentials,
    Credential,
    GCSCredentials,
    S3Credentials,
    StorageCredentials,
    TableCredentials,
)
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.wire.iceberg import document, vended
from credbroker.wire.iceberg_answer import load_credentials
from credbroker.wire.iceberg_keys import ADLSKeys, GCSKeys, S3Keys

ENDS = datetime(2026, 11, 22, 20, 50, 0, 123_456, tzinfo=UTC)
SAS = "sv=2024-11-04&sr=d&sdd=2&sp=rl&se=2026-11-22T21%3A00%3A00Z&sig=abc%3D"
S3_LAKE = Location.parse("s3://lake/wh/orders/")
GS_LAKE = Location.parse("gs://lake/wh/orders/")
ABFSS_LAKE = Location.parse("abfss://data@acct.dfs.core.windows.net/wh/orders/")
S3_KEYS = S3Credentials(
    "ASIA", SecretStr("se/cr+et"), SecretStr("to==ken"), region="eu-central-1", endpoint="https://s3.example"
)
GS_KEYS = GCSCredentials(SecretStr("ya29.x"))
SAS_KEYS = ADLSCredentials("acct", SecretStr(SAS))
EACH: list[tuple[Location, StorageCredentials]] = [(S3_LAKE, S3_KEYS), (GS_LAKE, GS_KEYS), (ABFSS_LAKE, SAS_KEYS)]


def test_s3_keys_come_back_as_they_went() -> None:
    (keys,) = vended(document(load_credentials(S3_KEYS, ENDS, (S3_LAKE,))), None)
    assert keys == S3Keys(
        prefix=S3_LAKE,
        access_key_id="ASIA",
        secret_access_key=SecretStr("se/cr+et"),
        session_token=SecretStr("to==ken"),
        expires_at=ENDS.replace(microsecond=123_000),  # cut off: no reader believes in a later end
        region="eu-central-1",
        endpoint="https://s3.example",
    )


def test_a_token_for_gcs_comes_back_as_it_went() -> None:
    (keys,) = vended(document(load_credentials(GS_KEYS, ENDS, (GS_LAKE,))), None)
    assert isinstance(keys, GCSKeys)
    assert (keys.prefix, keys.access_token) == (GS_LAKE, SecretStr("ya29.x"))
    assert keys.expires_at == ENDS.replace(microsecond=123_000)


def test_a_sas_comes_back_as_it_went() -> None:
    raw = load_credentials(SAS_KEYS, ENDS, (ABFSS_LAKE,))
    (keys,) = vended(document(raw), None)
    assert isinstance(keys, ADLSKeys)
    assert (keys.prefix, keys.account, keys.sas_token) == (ABFSS_LAKE, "acct", SecretStr(SAS))
    assert keys.expires_at == ENDS.replace(microsecond=123_000)
    # Java's AzureProperties asks by the host.
    assert set(json.loads(raw)["storage-credentials"][0]["config"]) == {
        "adls.sas-token.acct.dfs.core.windows.net",
        "adls.sas-token-expires-at-ms.acct.dfs.core.windows.net",
    }


def test_a_table_s_credentials_are_told_prefix_by_prefix() -> None:
    raw = load_credentials(TableCredentials(tuple(EACH)), ENDS, ())
    assert [keys.prefix for keys in vended(document(raw), None)] == [S3_LAKE, GS_LAKE, ABFSS_LAKE]
    for entry in json.loads(raw)["storage-credentials"]:
        assert all(isinstance(text, str) for text in entry["config"].values())


def test_what_was_granted_goes_before_what_was_asked() -> None:
    granted = S3Credentials("ASIA", SecretStr("s"), SecretStr("t"), locations=(S3_LAKE,))
    told = json.loads(load_credentials(granted, ENDS, (Location.parse("s3://lake/"),)))
    assert [entry["prefix"] for entry in told["storage-credentials"]] == ["s3://lake/wh/orders/"]


def test_each_granted_location_is_a_prefix() -> None:
    places = (S3_LAKE, Location.parse("s3://lake/wh/items/"))
    told = json.loads(load_credentials(S3_KEYS, ENDS, places))["storage-credentials"]
    assert [entry["prefix"] for entry in told] == ["s3://lake/wh/orders/", "s3://lake/wh/items/"]
    assert told[0]["config"] == told[1]["config"]


@pytest.mark.parametrize("value", [AccessToken(SecretStr("canary")), S3Credentials("AKIA", SecretStr("canary"))])
def test_what_is_no_storage_credential_that_ends_is_refused(value: Credential) -> None:
    with pytest.raises(ConfigurationError, match="iceberg-credentials") as caught:
        load_credentials(value, ENDS, (S3_LAKE,))
    assert "canary" not in str(caught.value)


def test_an_end_is_told_in_milliseconds() -> None:
    ends = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1_790_000_000_001)
    config = json.loads(load_credentials(S3_KEYS, ends, (S3_LAKE,)))["storage-credentials"][0]["config"]
    assert config["s3.session-token-expires-at-ms"] == "1790000000001"
