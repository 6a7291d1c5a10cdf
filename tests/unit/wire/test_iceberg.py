from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.location import Location
from credbroker.wire.iceberg import catalog_config, document, error_type, table_location, vended

TABLE = Location.parse("s3://lake/wh/orders")
KEYS = {
    "s3.access-key-id": "ASIAEXAMPLE",
    "s3.secret-access-key": "made-up-secret",
    "s3.session-token": "made-up-token",
    "s3.session-token-expires-at-ms": "1795383531090",
    "s3.region": "eu-west-1",
    "s3.endpoint": "https://s3.example.com",
    "s3.path-style-access": "true",
}


def entry(prefix: str, **changes: Any) -> dict[str, Any]:
    config = {**KEYS, **{name.replace("_", "-").replace("s3-", "s3.", 1): value for name, value in changes.items()}}
    return {"prefix": prefix, "config": {name: value for name, value in config.items() if value is not ...}}


def reply(*entries: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"storage-credentials": list(entries), "config": config or {}}


def test_storage_credentials_are_read_with_prefix_keys_and_expiry() -> None:
    (keys,) = vended(reply(entry("s3://lake/wh/orders")), TABLE)
    assert keys.prefix == TABLE
    assert (keys.access_key_id, keys.region, keys.endpoint) == ("ASIAEXAMPLE", "eu-west-1", "https://s3.example.com")
    assert keys.secret_access_key.get_secret_value() == "made-up-secret"
    assert keys.session_token.get_secret_value() == "made-up-token"
    assert keys.expires_at == datetime(2026, 11, 22, 21, 38, 51, 90_000, tzinfo=UTC)
    assert "made-up" not in repr(keys)


def test_the_config_counts_only_where_no_storage_credential_covers_the_table() -> None:
    other = {**KEYS, "s3.access-key-id": "FROMCONFIG"}
    (keys,) = vended(reply(entry("s3://lake/wh/orders"), config=other), TABLE)
    assert keys.access_key_id == "ASIAEXAMPLE"
    (keys,) = vended(reply(config=other), TABLE)
    assert (keys.access_key_id, keys.prefix) == ("FROMCONFIG", TABLE)
    _, keys = vended(reply(entry("s3://lake/wh/orders2"), config=other), TABLE)
    assert (keys.access_key_id, keys.prefix) == ("FROMCONFIG", TABLE)


def test_several_prefixes_stay_apart() -> None:
    found = vended(reply(entry("s3://lake/wh/orders"), entry("s3a://data/x", s3_access_key_id="OTHER")), TABLE)
    assert [(str(keys.prefix), keys.access_key_id) for keys in found] == [
        ("s3://lake/wh/orders/", "ASIAEXAMPLE"),
        ("s3://data/x/", "OTHER"),
    ]


@pytest.mark.parametrize(
    "nothing",
    [
        {},
        {"storage-credentials": None, "config": None},
        {"storage-credentials": [], "config": {"s3.endpoint": "https://s3.example.com", "s3.region": "eu-west-1"}},
        {"storage-credentials": [{"prefix": "s3://lake/wh/orders", "config": {}}]},
        {"storage-credentials": [{"prefix": "s3://lake/wh/orders"}], "config": {"s3.remote-signing-enabled": "true"}},
    ],
)
def test_what_holds_no_keys_vends_nothing(nothing: dict[str, Any]) -> None:
    assert vended(nothing, TABLE) == ()


def test_the_region_of_the_client_counts_where_s3_has_none() -> None:
    (keys,) = vended(reply(entry("s3://lake/wh/orders", s3_region=..., **{"client.region": "us-west-2"})), TABLE)
    assert keys.region == "us-west-2"


def test_an_absent_expiry_is_said_to_be_absent() -> None:
    (keys,) = vended(reply(entry("s3://lake/wh/orders", s3_session_token_expires_at_ms=...)), TABLE)
    assert keys.expires_at is None


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
        [],
        "\uff11795383531090",
        10**30,
    ],
)
def test_an_expiry_that_is_no_sane_number_of_milliseconds_is_malformed(expiry: object) -> None:
    with pytest.raises(MalformedResponse, match="milliseconds"):
        vended(reply(entry("s3://lake/wh/orders", s3_session_token_expires_at_ms=expiry)), TABLE)


def test_an_expiry_may_be_a_number() -> None:
    (keys,) = vended(reply(entry("s3://lake/wh/orders", s3_session_token_expires_at_ms=1795383531090)), TABLE)
    assert keys.expires_at is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"s3_access_key_id": ...},
        {"s3_secret_access_key": ...},
        {"s3_session_token": ...},
        {"s3_session_token": ""},
        {"s3_secret_access_key": 7},
        {"s3_session_token": "canary\r\nx-evil: 1"},
        {"s3_access_key_id": "canary key"},
        {"s3_region": "eu.evil.example/"},
        {"s3_region": 7},
        {"s3_endpoint": ["https://s3.example.com"]},
        {"s3_endpoint": "https://s3.example.com/ x"},
    ],
)
def test_an_incomplete_or_unreadable_set_is_malformed_and_not_repeated(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse) as caught:
        vended(reply(entry("s3://lake/wh/orders", **changes)), TABLE)
    assert "made-up" not in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["s3://lake/wh/../other", "s3://lake/wh/%2e%2e/other", "s3://", "s3://u@lake/x", "s3://lake/a?b"]
)
def test_a_prefix_that_is_no_location_is_malformed(prefix: str) -> None:
    with pytest.raises(MalformedResponse, match="location"):
        vended(reply(entry(prefix)), TABLE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"storage-credentials": {"a": 1}},
        {"storage-credentials": "x"},
        {"storage-credentials": ["x"]},
        {"storage-credentials": [{"config": KEYS}]},
        {"storage-credentials": [{"prefix": 1, "config": KEYS}]},
        {"storage-credentials": [{"prefix": "s3://lake/wh/orders", "config": ["x"]}]},
        {"config": ["x"]},
    ],
)
def test_a_reply_of_another_shape_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        vended(wrong, TABLE)


def test_keys_for_another_store_are_refused_only_where_there_are_none_for_s3() -> None:
    other = {"prefix": "gs://lake/x", "config": {"gcs.oauth2.token": "made-up"}}
    with pytest.raises(ConfigurationError, match="gs"):
        vended(reply(other), None)
    assert len(vended(reply(other, entry("s3://lake/wh/orders")), TABLE)) == 1
    with pytest.raises(ConfigurationError, match="abfss"):
        vended(
            reply(config={"adls.sas-token.a.dfs.core.windows.net": "made-up"}),
            Location.parse("abfss://lake@account.dfs.core.windows.net/x"),
        )


def test_the_tables_location_is_read_from_its_metadata() -> None:
    assert table_location({"metadata": {"location": "s3://lake/wh/orders/"}}) == TABLE


@pytest.mark.parametrize(
    "wrong", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"location": 1}}, {"metadata": {"location": "x"}}]
)
def test_a_reply_without_a_location_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        table_location(wrong)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        document(body)


def test_an_override_gives_the_prefix_before_a_default_and_nothing_else() -> None:
    found = catalog_config(
        {
            "defaults": {"prefix": "from-default"},
            "overrides": {"prefix": "a/b%7Cc", "uri": "https://evil.example", "oauth2-server-uri": "https://evil.example"},
            "endpoints": ["GET /v1/{prefix}/namespaces"],
        }
    )
    assert (found.prefix, found.endpoints) == ("a/b%7Cc", {"GET /v1/{prefix}/namespaces"})
    assert catalog_config({"defaults": {"prefix": "from-default"}, "overrides": None}).prefix == "from-default"
    assert catalog_config({}).prefix == ""


@pytest.mark.parametrize(
    "prefix", ["../admin", "a/../b", "a/%2e%2e/b", "a/%2E./b", ".", "a//b", "a?b", "a#b", "a b", "a\\b", "a\r\nb", "a%0d", 7]
)
def test_a_prefix_that_leads_to_other_routes_is_malformed(prefix: object) -> None:
    with pytest.raises(MalformedResponse, match="prefix"):
        catalog_config({"overrides": {"prefix": prefix}})


@pytest.mark.parametrize("wrong", [{"overrides": ["x"]}, {"overrides": "x"}, {"endpoints": {"a": 1}}, {"endpoints": [1]}])
def test_a_configuration_of_another_shape_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        catalog_config(wrong)


def test_an_error_type_is_shown_only_as_a_plain_name() -> None:
    assert error_type(b'{"error": {"type": "NoSuchTableException", "code": 404}}') == "NoSuchTableException"
    for body in (b"", b"{}", b'{"error": "x"}', b'{"error": {"type": "bearer abc.def"}}', b'{"error": {"type": 1}}'):
        assert error_type(body) is None
