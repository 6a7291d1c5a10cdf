"""What an issuer says that it granted, held against what was asked of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import Broker
from credbroker.context import Context
from credbroker.credentials import ADLSCredentials, Credential, S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.request import Access, CredentialRequest
from credbroker.testing import ControlledProvider, ManualClock

SECRET = SecretStr("canary-5b20")
CONTAINER = "abfss://data@acct.dfs.core.windows.net"
SIBLING = "abfss://backup@acct.dfs.core.windows.net"


def places(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


def s3(*granted: str, access: str | None = None) -> S3Credentials:
    return S3Credentials("AKIA", SECRET, locations=places(*granted) or None, access=Access(access) if access else None)


def sas(*granted: str, access: str | None = None) -> ADLSCredentials:
    return ADLSCredentials("acct", SECRET, locations=places(*granted) or None, access=Access(access) if access else None)


def table(**held: StorageCredentials) -> TableCredentials:
    return TableCredentials(tuple((Location.parse(uri), value) for uri, value in held.items()))


def issued(value: Credential, *, allowed: bool = False, bounds: tuple[str, ...] = (), asked: str | None = None) -> Any:
    """What a caller gets where the issuer answers ``value``: for a storage location if that is ``asked``, else a table."""

    def answer(number: int, request: CredentialRequest, context: Context) -> Credential:
        return value

    provider = ControlledProvider(lifetime=timedelta(hours=1), answer=answer)
    credentials = {"mode": "oauth2"}
    settings = {
        "environment": "local",
        "catalogs": {
            "production": {
                "uri": "https://catalog.example",
                "storage": ["azure", "backup", "sales"],
                "credentials": credentials,
                **({"locations": list(bounds)} if bounds else {}),
            }
        },
        "storage": {
            "azure": {
                "type": "azure",
                "locations": [f"{CONTAINER}/wh/"],
                "allow_container_scope": allowed,
                "credentials": credentials,
            },
            "backup": {"type": "azure", "locations": [f"{SIBLING}/wh/"], "credentials": credentials},
            "sales": {"locations": ["s3://lake/sales/"], "allow_container_scope": allowed, "credentials": credentials},
        },
    }
    providers = {"oauth2": provider, "catalog": provider}
    with Broker.from_config(settings, providers=providers, context=Context(clock=ManualClock())) as broker:
        if asked is None:
            return broker.table("production", "sales.orders", access="read").get()
        return broker.storage("azure" if asked.startswith("abfss") else "sales", asked, access="read").get()


@pytest.mark.parametrize("prefix", ["s3://lake/sales2", "s3://lake", "s3://other/sales", "gs://lake/sales"])
@pytest.mark.parametrize("bounds", [(), ("s3://lake/sales/",)])
def test_a_tables_prefix_outside_of_the_catalogs_storage_is_refused(prefix: str, bounds: tuple[str, ...]) -> None:
    inside = {"s3://lake/sales/orders": s3("s3://lake/sales/orders")}
    assert issued(table(**inside), bounds=bounds).locations == places("s3://lake/sales/orders")
    with pytest.raises(MalformedResponse, match=f"granted {prefix}/, outside what was asked"):
        issued(table(**inside, **{prefix: s3()}), bounds=bounds)


@pytest.mark.parametrize("granted", ["s3://lake/sales", "s3://lake/sales/orders2", "s3://lake"])
def test_keys_of_a_table_that_reach_further_than_its_prefixes_are_refused(granted: str) -> None:
    with pytest.raises(MalformedResponse, match="outside what was asked"):
        issued(table(**{"s3://lake/sales/orders": s3(granted)}))


def test_one_value_may_serve_several_prefixes_of_a_table() -> None:
    both = s3("s3://lake/sales/orders", "s3://lake/sales/blocks")
    value = issued(table(**{"s3://lake/sales/orders": both, "s3://lake/sales/blocks": both}))
    assert value.for_location("s3://lake/sales/blocks/x") is both


def test_each_of_a_tables_keys_has_no_more_access_than_was_asked() -> None:
    """Of two that differ the table itself states none."""
    held = {"s3://lake/sales/a": s3(access="read"), "s3://lake/sales/b": s3(access="read_write")}
    with pytest.raises(MalformedResponse, match="'read_write', wider than 'read': ask for that, or have less"):
        issued(table(**held))
    assert issued(table(**{"s3://lake/sales/a": s3(access="read"), "s3://lake/sales/b": s3()})).access is None


def test_a_whole_container_is_taken_only_where_the_profile_that_granted_it_says_so() -> None:
    whole = sas(CONTAINER)
    for value, asked in ((whole, f"{CONTAINER}/wh/orders"), (table(**{f"{CONTAINER}/wh/orders": whole}), None)):
        with pytest.raises(MalformedResponse, match=f"granted {CONTAINER}/, outside what was asked"):
            issued(value, asked=asked)
        assert issued(value, asked=asked, allowed=True).fingerprint


@pytest.mark.parametrize(
    "granted", [SIBLING, f"{CONTAINER}/wh", f"{CONTAINER}/other", "abfss://data@acct2.dfs.core.windows.net"]
)
def test_nothing_but_the_root_of_the_container_asked_for_is_taken_for_it(granted: str) -> None:
    for value, asked in (
        (sas(granted), f"{CONTAINER}/wh/orders"),
        (table(**{f"{CONTAINER}/wh/orders": sas(granted)}), None),
    ):
        with pytest.raises(MalformedResponse, match="outside what was asked"):
            issued(value, asked=asked, allowed=True)


def test_a_container_is_no_prefix_of_a_table() -> None:
    with pytest.raises(MalformedResponse, match="outside what was asked"):
        issued(table(**{CONTAINER: sas(CONTAINER)}), allowed=True)


def test_the_word_of_one_storage_profile_does_not_count_for_anothers_container() -> None:
    both = {f"{CONTAINER}/wh/orders": sas(CONTAINER), f"{SIBLING}/wh/orders": sas(f"{SIBLING}/wh/orders")}
    assert issued(table(**both), allowed=True).prefixes == places(*both)
    for wider in ({f"{CONTAINER}/wh/orders": sas(SIBLING)}, {f"{SIBLING}/wh/orders": sas(SIBLING)}):
        with pytest.raises(MalformedResponse, match=f"granted {SIBLING}/"):
            issued(table(**{**both, **wider}), allowed=True)


def test_a_bucket_is_no_container() -> None:
    for value, asked in ((s3("s3://lake"), "s3://lake/sales/x"), (table(**{"s3://lake/sales/x": s3("s3://lake")}), None)):
        with pytest.raises(MalformedResponse, match="granted s3://lake/, outside what was asked"):
            issued(value, asked=asked, allowed=True)


def test_a_prefix_that_no_storage_profile_contains_is_held_to_itself() -> None:
    elsewhere = "abfss://other@acct.dfs.core.windows.net"
    held = {f"{elsewhere}/wh/t": sas(f"{elsewhere}/wh/t")}
    assert issued(table(**held), allowed=True, bounds=(elsewhere,)).locations == places(f"{elsewhere}/wh/t")
    with pytest.raises(MalformedResponse, match=f"granted {elsewhere}/"):
        issued(table(**{f"{elsewhere}/wh/t": sas(elsewhere)}), allowed=True, bounds=(elsewhere,))


def test_what_states_no_grant_is_taken() -> None:
    assert issued(s3(), asked="s3://lake/sales/orders").locations is None
    assert issued(table(**{"s3://lake/sales/orders": s3()})).prefixes == places("s3://lake/sales/orders")
