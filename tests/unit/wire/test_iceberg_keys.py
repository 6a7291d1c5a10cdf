from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.request import Access
from credbroker.wire.iceberg_keys import ADLSKeys, GCSKeys, S3Keys, keys_for

LAKE = Location.parse("s3://lake/wh/orders")
BUCKET = Location.parse("gs://lake/wh/orders")
CONTAINER = Location.parse("abfss://data@acct.dfs.core.windows.net/sales/orders")
HOST = "acct.dfs.core.windows.net"
MS = "1795383531090"
ENDS = datetime(2026, 11, 22, 21, 38, 51, 90_000, tzinfo=UTC)
SAS = "sv=2024-11-04&sr=d&sdd=2&sp=rl&se=2026-11-22T21%3A00%3A00Z&skoid=a&sig=made-up"
OTHER_SAS = SAS.replace("made-up", "OTHER")
S3 = {"s3.access-key-id": "ASIA", "s3.secret-access-key": "made-up", "s3.session-token": "made-up"}
GCS = {"gcs.oauth2.token": "ya29.made-up", "gcs.oauth2.token-expires-at": MS}


def gcs(config: dict[str, Any]) -> GCSKeys:
    found = keys_for(BUCKET, config)
    assert isinstance(found, GCSKeys)
    return found


def adls(config: dict[str, Any], prefix: Location = CONTAINER) -> ADLSKeys:
    found = keys_for(prefix, config)
    assert isinstance(found, ADLSKeys)
    return found


def test_a_gcs_token_is_read_with_its_expiry() -> None:
    found = gcs(GCS)
    assert (found.prefix, found.access_token.get_secret_value(), found.expires_at) == (BUCKET, "ya29.made-up", ENDS)
    assert "made-up" not in repr(found)
    assert gcs({"gcs.oauth2.token": "ya29.made-up"}).expires_at is None


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx: 1", "\u00e9", None, 7, "a" * 20_000])
def test_a_gcs_token_that_no_header_can_carry_is_malformed(token: object) -> None:
    with pytest.raises(MalformedResponse, match=r"gcs\.oauth2\.token"):
        gcs({"gcs.oauth2.token": token})


def test_a_sas_is_read_with_its_account_its_expiry_and_its_own_word() -> None:
    found = adls({f"adls.sas-token.{HOST}": SAS, f"adls.sas-token-expires-at-ms.{HOST}": MS})
    assert (found.prefix, found.account, found.sas_token.get_secret_value()) == (CONTAINER, "acct", SAS)
    assert found.expires_at == ENDS
    assert (found.signed.depth, found.signed.access) == (2, Access.READ)
    assert found.signed.ends == datetime(2026, 11, 22, 21, tzinfo=UTC)
    assert "made-up" not in repr(found)


@pytest.mark.parametrize(
    "name", [f"adls.sas-token.{HOST}", "adls.sas-token.acct.blob.core.windows.net", "adls.sas-token.acct", "adls.sas-token"]
)
def test_each_name_for_a_sas_of_the_account_is_read(name: str) -> None:
    assert adls({name: f"?{SAS}"}).sas_token.get_secret_value() == SAS


def test_what_polaris_says_is_read() -> None:
    config = {
        f"adls.sas-token.{HOST}": SAS,
        "adls.sas-token.acct": SAS,
        "adls.sas-token": SAS,
        "adls.account-name": "acct",
        f"adls.sas-token-expires-at-ms.{HOST}": MS,
        "adls.refresh-credentials-endpoint": "v1/wh/namespaces/sales/tables/orders/credentials",
    }
    assert adls(config).expires_at == ENDS


def test_each_prefix_gets_the_sas_of_its_own_account() -> None:
    config = {"adls.sas-token.acct": SAS, "adls.sas-token.acct2": OTHER_SAS, "adls.sas-token": OTHER_SAS}
    assert adls(config).sas_token.get_secret_value() == SAS
    other = Location.parse("abfss://data@acct2.dfs.core.windows.net/sales/orders")
    assert adls(config, other).sas_token.get_secret_value() == OTHER_SAS


@pytest.mark.parametrize(
    "config",
    [
        {"adls.sas-token.acct2": SAS},
        {"adls.sas-token.acct2.dfs.core.windows.net": SAS},
        {"adls.sas-token.acct.dfs.core.chinacloudapi.cn": SAS},
        {"adls.sas-token.acct2": SAS, "adls.sas-token": SAS},
        {"adls.sas-token": SAS, "adls.account-name": "acct2"},
        {"adls.sas-token.acc": SAS},
        {"adls.sas-token.": SAS},
    ],
)
def test_another_accounts_sas_is_malformed(config: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse, match="another storage account") as caught:
        adls(config)
    assert "made-up" not in str(caught.value)


def test_two_different_sas_for_one_account_are_malformed() -> None:
    with pytest.raises(MalformedResponse, match="two different SAS"):
        adls({f"adls.sas-token.{HOST}": SAS, "adls.sas-token.acct": OTHER_SAS})


@pytest.mark.parametrize("sas", ["", "?", "a b", f"{SAS}\r\nx: 1", 7, None, f"{SAS}&comp=acl"])
def test_a_sas_that_is_none_is_malformed_and_not_shown(sas: object) -> None:
    with pytest.raises(MalformedResponse) as caught:
        adls({"adls.sas-token.acct": sas})
    assert "made-up" not in str(caught.value)


def test_the_earliest_of_several_expiries_counts() -> None:
    stated = {f"adls.sas-token-expires-at-ms.{HOST}": MS, "adls.sas-token-expires-at-ms.acct": "1795383000000"}
    assert adls({"adls.sas-token.acct": SAS, **stated}).expires_at == datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
    assert adls({"adls.sas-token.acct": SAS, "adls.sas-token-expires-at-ms.acct2": MS}).expires_at is None


@pytest.mark.parametrize(
    "expiry",
    [
        "soon",
        "",
        "1795383531",
        "1795383531090000",
        "-1795383531090",
        "1.7e12",
        1795383531.09,
        True,
        False,
        [],
        {},
        10**30,
        -1,
        "9" * 5000,
        f"0{MS}",
    ],
)
def test_an_expiry_that_is_no_sane_number_of_milliseconds_is_malformed(expiry: object) -> None:
    with pytest.raises(MalformedResponse, match=r"gcs\.oauth2\.token-expires-at is no sane number of milliseconds"):
        gcs({**GCS, "gcs.oauth2.token-expires-at": expiry})
    with pytest.raises(MalformedResponse, match=r"adls\.sas-token-expires-at-ms is no sane number of milliseconds"):
        adls({"adls.sas-token.acct": SAS, "adls.sas-token-expires-at-ms.acct": expiry})


@pytest.mark.parametrize(
    ("prefix", "config", "scheme"),
    [
        (BUCKET, S3, "s3"),
        (CONTAINER, S3, "s3"),
        (LAKE, GCS, "gs"),
        (CONTAINER, GCS, "gs"),
        (LAKE, {"adls.sas-token.acct": SAS}, "abfss"),
        (BUCKET, {"adls.sas-token": SAS}, "abfss"),
    ],
)
def test_the_keys_of_another_store_are_none_for_a_prefix(prefix: Location, config: dict[str, Any], scheme: str) -> None:
    with pytest.raises(MalformedResponse, match=f"credentials of {scheme}:// for {prefix}"):
        keys_for(prefix, config)


def test_of_several_stores_keys_the_prefixs_own_are_read() -> None:
    assert isinstance(keys_for(LAKE, {**S3, **GCS}), S3Keys)
    assert isinstance(keys_for(BUCKET, {**S3, **GCS}), GCSKeys)


@pytest.mark.parametrize("prefix", [LAKE, BUCKET, CONTAINER])
def test_what_holds_no_keys_vends_nothing(prefix: Location) -> None:
    quiet = {"s3.endpoint": "https://evil.example", "gcs.service.host": "x", "adls.sas-token-expires-at-ms.acct": MS}
    assert keys_for(prefix, quiet) is None
