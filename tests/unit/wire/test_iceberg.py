from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.location import Location
from credbroker.wire.iceberg import catalog_config, document, error_type, refresh_endpoints, table_places, vended
from credbroker.wire.iceberg_keys import GCSKeys, S3Keys, VendedKeys

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


def s3(*found: VendedKeys) -> list[S3Keys]:
    return [keys for keys in found if isinstance(keys, S3Keys)]


def test_storage_credentials_are_read_with_prefix_keys_and_expiry() -> None:
    (keys,) = s3(*vended(reply(entry("s3://lake/wh/orders")), TABLE))
    assert keys.prefix == TABLE
    assert (keys.access_key_id, keys.region, keys.endpoint) == ("ASIAEXAMPLE", "eu-west-1", "https://s3.example.com")
    assert keys.secret_access_key.get_secret_value() == "made-up-secret"
    assert keys.session_token.get_secret_value() == "made-up-token"
    assert keys.expires_at == datetime(2026, 11, 22, 21, 38, 51, 90_000, tzinfo=UTC)
    assert "made-up" not in repr(keys)


def test_the_config_counts_only_where_no_storage_credential_covers_the_table() -> None:
    other = {**KEYS, "s3.access-key-id": "FROMCONFIG"}
    (keys,) = s3(*vended(reply(entry("s3://lake/wh/orders"), config=other), TABLE))
    assert keys.access_key_id == "ASIAEXAMPLE"
    (keys,) = s3(*vended(reply(config=other), TABLE))
    assert (keys.access_key_id, keys.prefix) == ("FROMCONFIG", TABLE)
    _, keys = s3(*vended(reply(entry("s3://lake/wh/orders2"), config=other), TABLE))
    assert (keys.access_key_id, keys.prefix) == ("FROMCONFIG", TABLE)


def test_several_prefixes_stay_apart() -> None:
    found = s3(*vended(reply(entry("s3://lake/wh/orders"), entry("s3a://data/x", s3_access_key_id="OTHER")), TABLE))
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
    (keys,) = s3(*vended(reply(entry("s3://lake/wh/orders", s3_region=..., **{"client.region": "us-west-2"})), TABLE))
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
        -1795383531090,
        10.0**12,
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
    "prefix",
    [
        "s3://lake/wh/../other",
        "s3://lake/wh/%2e%2e/other",
        "s3://lake/wh/%252e%252e/other",
        "s3://lake/wh%2Forders",
        "s3://lake/wh//orders",
        "s3://",
        "s3://u@lake/x",
        "s3://lake/a?b",
        "s3://lake/a#b",
        "s3://lake/a\nb",
        "lake/wh",
        "",
        "s3:lake/wh",
        "s3://lake/" + "a" * 900_000,
    ],
)
def test_a_prefix_that_is_no_location_is_malformed(prefix: str) -> None:
    with pytest.raises(MalformedResponse, match="location") as caught:
        vended(reply(entry(prefix)), TABLE)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "wrong",
    [
        {"storage-credentials": {"a": 1}},
        {"storage-credentials": "x"},
        {"storage-credentials": ["x"]},
        {"storage-credentials": [{"config": KEYS}]},
        {"storage-credentials": [{"prefix": 1, "config": KEYS}]},
        {"storage-credentials": [{"prefix": "s3://lake/wh/orders", "config": ["x"]}]},
        {"storage-credentials": [{"prefix": "s3://lake/wh/orders", "config": ""}]},
        {"storage-credentials": 0},
        {"config": ["x"]},
        {"config": []},
        {"config": "s3.access-key-id"},
    ],
)
def test_a_reply_of_another_shape_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse):
        vended(wrong, TABLE)


@pytest.mark.parametrize(("scheme", "shown"), [("oss", "oss"), ("wasbs", "wasbs"), ("x" * 99, "another store")])
def test_keys_for_a_store_that_is_not_known_are_refused_where_there_are_no_others(scheme: str, shown: str) -> None:
    other = {"prefix": f"{scheme}://lake/x", "config": {"oss.access-key-id": "made-up"}}
    with pytest.raises(ConfigurationError, match=f"credentials for {shown}: credbroker takes"):
        vended(reply(other), None)
    assert [keys.prefix for keys in vended(reply(other, entry("s3://lake/wh/orders")), TABLE)] == [TABLE]


def test_each_store_has_its_own_keys_in_one_reply() -> None:
    gcs = {"prefix": "gs://lake/x", "config": {"gcs.oauth2.token": "made-up-gcs"}}
    first, second = vended(reply(gcs, entry("s3://lake/wh/orders")), TABLE)
    assert isinstance(first, GCSKeys)
    assert isinstance(second, S3Keys)


@pytest.mark.parametrize("again", ["s3://lake/wh/orders", "s3a://lake/wh/orders/", "S3://lake/wh/orders"])
def test_one_prefix_has_one_set_of_keys(again: str) -> None:
    assert len(vended(reply(entry("s3://lake/wh/orders"), entry(again)), TABLE)) == 1
    with pytest.raises(MalformedResponse, match="two different sets of keys for s3://lake/wh/orders/") as caught:
        vended(reply(entry("s3://lake/wh/orders"), entry(again, s3_access_key_id="OTHER")), TABLE)
    assert "OTHER" not in str(caught.value)


def test_more_prefixes_than_a_table_can_have_are_malformed() -> None:
    many = [entry(f"s3://lake/wh/orders/{number}") for number in range(10_000)]
    assert len(vended(reply(*many[:100]), None)) == 100
    with pytest.raises(MalformedResponse, match="10000 prefixes: at most 100"):
        vended(reply(*many), TABLE)


def test_a_tables_places_are_its_location_and_what_its_properties_name() -> None:
    assert table_places({"metadata": {"location": "s3://lake/wh/orders/"}}) == (("location", TABLE),)
    properties = {
        "write.metadata.path": "s3://lake/meta/",
        "write.data.path": "s3a://data/x",
        "write.object-storage.path": "s3://data/y",
        "write.folder-storage.path": "s3://data/z",
        "write.format.default": "s3://not/a/place",
    }
    found = table_places({"metadata": {"location": "s3://lake/wh/orders", "properties": properties}})
    assert [(use, str(location)) for use, location in found] == [
        ("location", "s3://lake/wh/orders/"),
        ("write.data.path", "s3://data/x/"),
        ("write.metadata.path", "s3://lake/meta/"),
        ("write.object-storage.path", "s3://data/y/"),
        ("write.folder-storage.path", "s3://data/z/"),
    ]
    for none in ({}, None, {"write.data.path": ""}, {"write.data.path": None}):
        assert len(table_places({"metadata": {"location": "s3://lake/wh/orders", "properties": none}})) == 1


@pytest.mark.parametrize(
    "path", ["/data", "file:///data", "data", "s3://lake/a/../b", "s3://lake/%2e%2e/b", " ", 7, ["x"], {}]
)
def test_a_property_that_names_no_location_is_malformed_and_named(path: object) -> None:
    for name in ("write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"):
        with pytest.raises(MalformedResponse, match=f"as the table's {name} that is"):
            table_places({"metadata": {"location": "s3://lake/wh/orders", "properties": {name: path}}})


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"location": 1},
        {"location": "x"},
        {"location": "s3://lake/x", "properties": ["x"]},
        {"location": "s3://lake/x", "properties": ""},
    ],
)
def test_metadata_of_another_shape_is_malformed(metadata: object) -> None:
    with pytest.raises(MalformedResponse):
        table_places({"metadata": metadata})


def test_a_reply_without_metadata_is_malformed() -> None:
    with pytest.raises(MalformedResponse):
        table_places({})


def test_refresh_endpoints_are_found_in_every_config() -> None:
    first = {"prefix": "s3://lake/x", "config": {"client.refresh-credentials-endpoint": "v1/a"}}
    second = {"prefix": "s3://lake/y", "config": {"adls.refresh-credentials-endpoint": "v1/b"}}
    assert refresh_endpoints(reply(first, second, config={"gcs.oauth2.refresh-credentials-endpoint": "v1/c"})) == {
        "v1/a",
        "v1/b",
        "v1/c",
    }
    assert refresh_endpoints({}) == frozenset()


@pytest.mark.parametrize("endpoint", [7, ["https://evil.example"], {"a": 1}, True])
def test_a_refresh_endpoint_that_is_no_text_is_malformed(endpoint: object) -> None:
    for name in ("client", "adls", "gcs.oauth2"):
        with pytest.raises(MalformedResponse, match="refresh-credentials-endpoint is no text"):
            refresh_endpoints(reply(config={f"{name}.refresh-credentials-endpoint": endpoint}))


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
