from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.providers.fake_catalog import (
    AT_TABLE,
    ENDS,
    FROM_STORAGE,
    KEYS,
    NOW,
    TABLE,
    URI,
    FakeCatalog,
    Flight,
    issue,
    loaded,
    profile,
    s3,
    storage,
    vended,
)

from credbroker.credentials import ADLSCredentials, GCSCredentials
from credbroker.errors import AccessDenied, MalformedResponse
from credbroker.location import Location
from credbroker.profile import CatalogProfile, CredentialSettings
from credbroker.request import Access

# --- a hostile reply --------------------------------------------------------------------------------------------------

BOUNDED = {"storage": (storage("lake", "s3://lake/wh"),)}


@pytest.mark.parametrize("outside", ["s3://lake/wh2/orders", "s3://lake", "s3://other/wh/orders", "gs://lake/wh/orders"])
@pytest.mark.parametrize("first", [False, True])
def test_of_two_prefixes_of_which_one_is_outside_none_is_handed_out(outside: str, first: bool) -> None:
    other = vended(outside) if outside.startswith("s3") else {"prefix": outside, "config": {"gcs.oauth2.token": "t"}}
    pair = [other, vended()] if first else [vended(), other]
    for catalog in (FakeCatalog(table=loaded(*pair)), FakeCatalog(credentials={"storage-credentials": pair})):
        with pytest.raises(MalformedResponse, match=f"vends keys for {outside}/, outside of what its profile allows"):
            issue(catalog, profile(**BOUNDED))


@pytest.mark.parametrize(
    "endpoint",
    [
        "v1/wh/namespaces/sales/tables/orders/credentials",
        "/api/v1/wh/namespaces/sales/tables/orders/credentials?x=https://evil.example",
        "https://catalog.example/api/v1/x",
        "https://catalog.example:443/elsewhere",
        "HTTPS://CATALOG.EXAMPLE/api",
    ],
)
def test_a_refresh_endpoint_on_the_profiles_origin_is_no_fault_and_is_not_asked(endpoint: str) -> None:
    config = {f"{of}.refresh-credentials-endpoint": endpoint for of in ("client", "adls", "gcs.oauth2")}
    catalog = FakeCatalog(table=loaded(vended(), config=config))
    assert s3(issue(catalog)).access_key_id == "ASIAMADEUP"
    assert catalog.paths[1:] == [f"{AT_TABLE}?snapshots=refs"]


@pytest.mark.parametrize("name", ["client", "adls", "gcs.oauth2"])
@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ("https://evil.example/credentials", "'evil.example'"),
        ("http://catalog.example/api/v1/x", "'catalog.example'"),
        ("https://catalog.example:8443/api/v1/x", "'catalog.example'"),
        ("https://catalog.example.evil.example/x", "'catalog.example.evil.example'"),
        ("https://catalog.example@evil.example/x", "'evil.example'"),
        ("https://user:pw@catalog.example/x", "'catalog.example'"),
        ("//evil.example/x", "'evil.example'"),
        ("///evil.example/x", "another host"),
        ("https:evil.example", "another host"),
        ("https:/evil.example", "another host"),
        ("ftp://catalog.example/x", "'catalog.example'"),
        (f"https://{'a' * 300}.example/x", "another host"),
        ("https://[", "no URL"),
        ("https://catalog.example:x/", "no URL"),
        ("https://catalog.example\\@evil.example/", "backslash"),
        ("/\\evil.example/x", "backslash"),
        ("\t//evil.example/x", "a blank"),
        (" https://evil.example/x", "a blank"),
    ],
)
def test_a_refresh_endpoint_elsewhere_spoils_the_reply_wherever_it_stands(name: str, endpoint: str, named: str) -> None:
    config = {f"{name}.refresh-credentials-endpoint": endpoint}
    entry = {"prefix": TABLE, "config": {**KEYS, **config}}
    for catalog in (
        FakeCatalog(table=loaded(vended(), config=config)),
        FakeCatalog(table=loaded(entry)),
        FakeCatalog(credentials={"storage-credentials": [entry]}),
    ):
        with pytest.raises(MalformedResponse, match="refresh-credentials-endpoint") as caught:
            issue(catalog)
        assert named in str(caught.value)
        assert "pw" not in str(caught.value)
        assert all(request.url.startswith(URI) for request in catalog.seen)


@pytest.mark.parametrize(
    "name", ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"]
)
@pytest.mark.parametrize("outside", ["s3://lake/wh2", "s3://lake", "s3://other/wh/orders", "gs://lake/wh/orders"])
@pytest.mark.parametrize("delegation", ["vended-credentials", "none"])
@pytest.mark.parametrize("field", ["storage.lake.locations", "catalogs.production.locations"])
def test_a_table_that_writes_elsewhere_gets_no_credentials(name: str, outside: str, delegation: str, field: str) -> None:
    """CVE-2026-42809 and CVE-2026-42812: one of its paths is changed, and credentials are vended all the same."""
    settings: dict[str, Any] = {**BOUNDED, "access_delegation": delegation}
    if field.startswith("catalogs"):
        settings |= {"storage": (storage("lake", "s3://lake"),), "locations": (Location.parse("s3://lake/wh"),)}
        outside = "s3://lake/wh2" if outside == "s3://lake" else outside
    flight = Flight(storage=FROM_STORAGE)
    text = f"names {outside}/ as the table's {name}, outside of what its profile allows .*{field}"
    with pytest.raises(MalformedResponse, match=text):
        issue(FakeCatalog(table=loaded(vended(), **{name: outside})), profile(**settings), flight)
    assert [request.kind for request in flight.asked] == ["catalog"]


def test_a_table_that_writes_elsewhere_inside_the_profile_keeps_what_is_vended() -> None:
    reply = loaded(vended(), **{"write.data.path": "s3://lake/wh/blocks", "write.metadata.path": f"{TABLE}/meta"})
    assert issue(FakeCatalog(table=reply), profile(**BOUNDED)).locations == (Location.parse(TABLE),)


def test_a_reply_of_keys_alone_serves_its_own_prefixes_and_no_path_of_the_table() -> None:
    catalog = FakeCatalog(credentials={"storage-credentials": [vended()]}, table=(500, b""))
    value = issue(catalog, profile(**BOUNDED))
    for elsewhere in ("s3://lake/wh/blocks/x", "s3://lake/wh/orders2/x", "s3://lake/finance/x"):
        with pytest.raises(AccessDenied, match="lies outside"):
            value.for_location(elsewhere)


def test_the_longest_prefix_by_segments_serves_a_file() -> None:
    """apache/iceberg#17003, #17004: compared as texts, ``orders`` would serve ``orders-archive``."""
    reply = loaded(
        vended(), vended(f"{TABLE}/data", **{"access-key-id": "DATA"}), vended("s3://lake/wh", **{"access-key-id": "WIDE"})
    )
    value = issue(FakeCatalog(table=reply))
    served = {uri: s3(value, uri).access_key_id for uri in (f"{TABLE}/data/x", f"{TABLE}/data2/x", f"{TABLE}-archive/x")}
    assert list(served.values()) == ["DATA", "ASIAMADEUP", "WIDE"]


# --- the other stores -------------------------------------------------------------------------------------------------

ADLS_TABLE = "abfss://data@acct.dfs.core.windows.net/wh/orders"
SIGNED = {"sv": "2024-11-04", "sr": "d", "sdd": "2", "sp": "rl", "se": "2026-11-22T20:30:00Z", "sig": "vended-secret"}


def gcs(prefix: str = "gs://lake/wh/orders", **changes: Any) -> dict[str, Any]:
    config = {"gcs.oauth2.token": "vended-token", "gcs.oauth2.token-expires-at": KEYS["s3.session-token-expires-at-ms"]}
    return {"prefix": prefix, "config": {name: value for name, value in {**config, **changes}.items() if value is not None}}


def sas(**changes: str | None) -> str:
    return "&".join(f"{name}={value}" for name, value in {**SIGNED, **changes}.items() if value is not None)


def adls(token: str = "", prefix: str = ADLS_TABLE, advertised: datetime | None = ENDS) -> dict[str, Any]:
    config = {"adls.sas-token.acct.dfs.core.windows.net": token or sas()}
    if advertised is not None:
        config["adls.sas-token-expires-at-ms.acct"] = str(int(advertised.timestamp() * 1000))
    return {"prefix": prefix, "config": config}


def adls_value(entry: dict[str, Any], of: CatalogProfile | None = None, **answers: Any) -> ADLSCredentials:
    found = issue(FakeCatalog(table=loaded(entry, location=ADLS_TABLE), **answers), of).for_location(entry["prefix"])
    assert isinstance(found, ADLSCredentials)
    return found


def test_a_gcs_token_reaches_the_caller() -> None:
    value = issue(FakeCatalog(table=loaded(gcs(), location="gs://lake/wh/orders"))).for_location("gs://lake/wh/orders/x")
    assert isinstance(value, GCSCredentials)
    assert value.access_token.get_secret_value() == "vended-token"
    assert (value.expires_at, value.access) == (ENDS, None)
    assert value.locations == (Location.parse("gs://lake/wh/orders"),)


def test_a_gcs_token_that_does_not_say_when_it_ends_is_as_an_s3_one() -> None:
    silent = FakeCatalog(table=loaded(gcs(**{"gcs.oauth2.token-expires-at": None}), location="gs://lake/wh/orders"))
    with pytest.raises(MalformedResponse, match="default_ttl"):
        issue(silent)
    assumed = profile(credentials=CredentialSettings(mode="oauth2", default_ttl=timedelta(minutes=10)))
    assert issue(silent, assumed).expires_at == NOW + timedelta(minutes=10)


def test_a_gcs_prefix_outside_of_the_profile_is_refused() -> None:
    of = profile(storage=(storage("lake", "gs://lake/wh", type="gcs"),))
    assert issue(FakeCatalog(table=loaded(gcs(), location="gs://lake/wh/orders")), of).locations
    for prefix in ("gs://lake/wh2/orders", "gs://lake", "gs://other/wh/orders", "s3://lake/wh/orders"):
        entry = gcs(prefix) if prefix.startswith("gs") else vended(prefix)
        with pytest.raises(MalformedResponse, match="outside of what its profile allows"):
            issue(FakeCatalog(table=loaded(gcs(), entry, location="gs://lake/wh/orders")), of)


def test_a_sas_reaches_the_caller_with_what_it_says_of_itself() -> None:
    value = adls_value(adls())
    assert (value.account, value.sas_token.get_secret_value()) == ("acct", sas())
    assert (value.locations, value.access) == ((Location.parse(ADLS_TABLE),), Access.READ)


@pytest.mark.parametrize(
    ("token", "advertised", "ends"),
    [
        (sas(), ENDS, NOW + timedelta(minutes=30)),  # apache/polaris#4751: signed for less than is said
        (sas(), None, NOW + timedelta(minutes=30)),
        (sas(se="2026-11-23"), ENDS, ENDS),
        (sas(se="2026-11-23", ske="2026-11-22T20:10Z"), ENDS, NOW + timedelta(minutes=10)),
    ],
)
def test_a_sas_ends_at_the_earlier_of_what_it_and_the_catalog_say(
    token: str, advertised: datetime | None, ends: datetime
) -> None:
    assert adls_value(adls(token, advertised=advertised)).expires_at == ends


@pytest.mark.parametrize(
    ("date", "ends"),
    [
        ("Sun, 22 Nov 2026 19:30:00 GMT", NOW + timedelta(minutes=30)),  # it is Azure that counts, and not a slow catalog
        ("Sun, 22 Nov 2026 20:10:00 GMT", NOW + timedelta(minutes=19, seconds=59)),
    ],
)
def test_a_sas_gets_no_more_life_by_the_catalogs_clock(date: str, ends: datetime) -> None:
    assert adls_value(adls(), headers={"date": date}).expires_at == ends


def test_a_sas_for_the_container_is_refused_unless_the_storage_profile_there_allows_it() -> None:
    whole = adls(sas(sr="c", sdd=None))
    place = "abfss://data@acct.dfs.core.windows.net/wh"
    near, wide = storage("near", place, type="azure"), storage("wide", place.removesuffix("/wh"), allow_container_scope=True)
    for of in (profile(), profile(storage=(near,)), profile(storage=(wide, near))):
        with pytest.raises(MalformedResponse, match=r"whole container.*allow_container_scope"):
            adls_value(whole, of)
    value = adls_value(whole, profile(storage=(replace(near, allow_container_scope=True),)))
    assert value.locations == (Location.parse(place.removesuffix("wh")),)


def test_a_prefix_that_is_the_containers_root_is_outside_of_a_folder_whatever_is_allowed() -> None:
    place = "abfss://data@acct.dfs.core.windows.net"
    near = storage("near", f"{place}/wh", type="azure", allow_container_scope=True)
    with pytest.raises(MalformedResponse, match="outside of what its profile allows"):
        adls_value(adls(sas(sr="c", sdd=None), prefix=place), profile(storage=(near,)))


def test_a_sas_for_a_directory_above_the_prefix_is_refused() -> None:
    with pytest.raises(MalformedResponse, match="above that prefix"):
        adls_value(adls(sas(sdd="1")))


@pytest.mark.parametrize("host", ["acct.dfs.evil.example", "acct.dfs.core.windows.net.evil.example"])
def test_a_sas_for_another_host_than_azures_needs_a_profile_that_names_it(host: str) -> None:
    place = f"abfss://data@{host}/wh/orders"
    entry = {"prefix": place, "config": {"adls.sas-token.acct": sas()}}
    with pytest.raises(MalformedResponse, match=r"neither Azure's own nor in network\.allowed_hosts"):
        adls_value(entry)
    for of in (profile(allowed_hosts=(host,)), profile(locations=(Location.parse(place), Location.parse(ADLS_TABLE)))):
        assert adls_value(entry, of).account == "acct"


@pytest.mark.parametrize("suffix", ["dfs.core.chinacloudapi.cn", "dfs.core.usgovcloudapi.net", "z07.dfs.storage.azure.net"])
def test_azures_other_clouds_are_its_own(suffix: str) -> None:
    entry = {"prefix": f"abfss://data@acct.{suffix}/wh/orders", "config": {f"adls.sas-token.acct.{suffix}": sas()}}
    assert adls_value(entry).account == "acct"


def test_no_refusal_of_another_stores_keys_shows_them() -> None:
    for entry in (
        adls(sas(ss="b")),
        adls(sas(sp="rlp")),
        adls(sas() + "&sig=x"),
        gcs(**{"gcs.oauth2.token": "vended-secret x"}),
    ):
        with pytest.raises(MalformedResponse) as caught:
            issue(FakeCatalog(table=loaded(entry, location=entry["prefix"])))
        assert "vended-secret" not in str(caught.value)


def test_the_token_that_a_catalog_was_sent_is_not_repeated_in_an_error() -> None:
    catalog = FakeCatalog(table=loaded(vended("s3://evil/catalog-token-1/x")))
    with pytest.raises(MalformedResponse, match=r"s3://evil/<the token>/x") as caught:
        issue(catalog, profile(**BOUNDED), Flight(tokens=["catalog-token-1"]))
    assert "catalog-token-1" not in repr(caught.value)


def test_an_empty_list_of_locations_allows_nothing() -> None:
    for settings in ({"locations_stated": True}, {"storage": (storage("nowhere"),)}):
        with pytest.raises(MalformedResponse, match="outside of what its profile allows"):
            issue(FakeCatalog(), profile(**settings))


def test_what_is_wrong_with_one_of_several_prefixes_is_said_of_that_one() -> None:
    bad = vended("s3://lake/wh/orders/part")
    del bad["config"]["s3.session-token"]
    with pytest.raises(MalformedResponse, match=r"without a session token.*s3://lake/wh/orders/part/"):
        issue(FakeCatalog(table=loaded(vended(), bad)), profile(**BOUNDED))


def test_port_nought_is_another_origin() -> None:
    config = {"client.refresh-credentials-endpoint": "https://catalog.example:0/x"}
    with pytest.raises(MalformedResponse, match="not the origin"):
        issue(FakeCatalog(table=loaded(vended(), config=config)))
