from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from tests.unit.integrations.conftest import ADLS, CANARY, HOUR, Desk

from credbroker import S3Credentials
from credbroker.errors import ConfigurationError, IssueDenied
from credbroker.integrations.polars import credential_provider, storage_options
from credbroker.source import CredentialSource

RELEASE = tuple(int(part) for part in pl.__version__.split(".")[:2])
URL = "s3://lake/sales/f.parquet"
pytestmark = pytest.mark.filterwarnings("ignore:the `credential_provider` parameter")  # Polars calls it unstable


@pytest.fixture
def lake(desk: Desk) -> CredentialSource[Any]:
    file = io.BytesIO()
    pl.DataFrame({"id": [1, 2, 3]}).write_parquet(file)
    desk.store.body = file.getvalue()
    # Polars goes by the wall's clock.
    desk.clock.jump((datetime.now(UTC) - desk.clock.now()).total_seconds())
    source: CredentialSource[Any] = desk.broker.storage("lake", "s3://lake/sales")
    return source


def rows(source: CredentialSource[Any], provider: Any = None) -> int:
    scan = pl.scan_parquet(
        URL, credential_provider=provider or credential_provider(source), storage_options=storage_options(source)
    )
    return scan.collect().height


def test_a_scan_is_signed_with_the_sources_keys(desk: Desk, lake: CredentialSource[Any]) -> None:
    assert rows(lake) == 3
    assert set(desk.store.key_ids) == {"ASIA1"}
    assert {one.token for one in desk.store.seen} == {f"{CANARY}-token-1"}
    assert {one.region for one in desk.store.seen} == {"eu-west-1"}
    assert {one.path for one in desk.store.seen} == {"/lake/sales/f.parquet"}


def test_nothing_of_the_environment_is_used(desk: Desk, lake: CredentialSource[Any], ambient: None) -> None:
    assert rows(lake) == 3
    assert set(desk.store.key_ids) == {"ASIA1"}
    assert {one.region for one in desk.store.seen} == {"eu-west-1"}


def test_one_provider_follows_the_refresh(desk: Desk, lake: CredentialSource[Any]) -> None:
    desk.life = HOUR / 1800  # 2 s, of which the broker uses 1.33
    provider = credential_provider(lake)
    rows(lake, provider)
    for _ in range(3):
        desk.clock.advance(5)
        # Polars comes back when the end that it was told has gone by, on its own clock.
        provider()
    assert desk.provider.calls == 4


def test_the_end_is_told_a_little_early_and_by_this_machines_clock(desk: Desk, lake: CredentialSource[Any]) -> None:
    words, end = credential_provider(lake)()
    assert words == {
        "aws_access_key_id": "ASIA1",
        "aws_secret_access_key": f"{CANARY}-secret-1",
        "aws_session_token": f"{CANARY}-token-1",
    }
    assert end is not None
    left = end - desk.clock.now().timestamp()
    assert HOUR.total_seconds() - 16 <= left <= HOUR.total_seconds() - 15
    desk.clock.jump(-600)
    assert (credential_provider(lake)()[1] or 0) - desk.clock.now().timestamp() == pytest.approx(left, abs=1)


def test_the_told_end_is_the_walls_time_plus_what_is_left(desk: Desk, lake: CredentialSource[Any]) -> None:
    value = lake.get()
    desk.clock.jump(-600)
    left = lake.remaining(value)
    assert left is not None
    assert lake.told_end(value) == desk.clock.now() + left
    assert lake.told_end(S3Credentials("AKIA", SecretStr("x"))) is None


def test_at_a_value_that_is_due_it_waits_for_the_next(desk: Desk, lake: CredentialSource[Any]) -> None:
    provider = credential_provider(lake)
    provider()
    desk.clock.advance(0.95 * HOUR.total_seconds())
    assert provider()[0]["aws_access_key_id"] == "ASIA2"


def test_the_other_stores_words(desk: Desk) -> None:
    assert credential_provider(desk.broker.storage("gcs"))()[0] == {"bearer_token": f"{CANARY}-1"}
    assert credential_provider(desk.broker.storage("adls"))()[0] == {"sas_token": "sv=1&sig=2%2B"}


@pytest.mark.parametrize(("profile", "url"), [("gcs", "gs://lake/sales/f"), ("adls", f"{ADLS}/f")])
def test_polars_takes_the_other_stores_words(desk: Desk, profile: str, url: str) -> None:
    """It refuses an unknown word with ValueError; here it gets as far as a proxy which is not there."""
    desk.network = {"proxy": "http://127.0.0.1:1"}
    desk.clock.jump((datetime.now(UTC) - desk.clock.now()).total_seconds())
    source = desk.broker.storage(profile)
    options: Any = {**storage_options(source), "max_retries": 0 if RELEASE >= (1, 38) else "0"}
    scan = pl.scan_parquet(url, credential_provider=credential_provider(source), storage_options=options)
    unknown = profile == "adls" and RELEASE < (1, 39)  # docs/adapters.md tells of it
    with pytest.raises(ValueError if unknown else OSError, match=r"unknown configuration key|tunnel error|sending request"):
        scan.collect()


def test_where_the_stores_are(desk: Desk) -> None:
    options = storage_options(desk.broker.storage("gcs"))
    assert options["google_base_url"] == "https://storage.googleapis.com"
    options = storage_options(desk.broker.storage("adls"))
    assert options["azure_endpoint"] == "https://acme.blob.core.windows.net"
    assert options["azure_storage_account_name"] == "acme"
    desk.endpoint = None
    options = storage_options(desk.broker.storage("lake", "s3://lake/sales"))
    assert options["aws_endpoint_url"] == "https://lake.s3.eu-west-1.amazonaws.com"
    assert options["aws_virtual_hosted_style_request"] == "true"
    assert options["allow_http"] == "false"
    options = storage_options(desk.broker.storage("lake", "s3://lake/sales", "s3://pond"))
    assert options["aws_endpoint_url"] == "https://s3.eu-west-1.amazonaws.com"
    assert options["aws_virtual_hosted_style_request"] == "false"
    assert CANARY not in repr(options)


@pytest.mark.parametrize(
    ("profile", "host"),
    [("lake", "127.0.0.1"), ("gcs", "storage.googleapis.com"), ("adls", "acme.blob.core.windows.net")],
)
def test_the_network_section_holds(desk: Desk, profile: str, host: str) -> None:
    desk.network = {"allowed_hosts": ["elsewhere.example"], "proxy": "http://proxy:3128"}
    source = desk.broker.storage(profile, "s3://lake/sales") if profile == "lake" else desk.broker.storage(profile)
    with pytest.raises(ConfigurationError, match=f"{host!r} is not in network.allowed_hosts"):
        storage_options(source)


def test_the_proxy_of_the_network_section_is_used_but_for_loopback(desk: Desk) -> None:
    desk.network = {"proxy": "http://proxy:3128"}
    assert storage_options(desk.broker.storage("gcs"))["proxy_url"] == "http://proxy:3128"
    options = storage_options(desk.broker.storage("lake", "s3://lake/sales"))
    assert options["proxy_excludes"] == "127.0.0.1"


def test_a_table_with_one_set_of_keys(desk: Desk, lake: CredentialSource[Any]) -> None:
    assert rows(desk.broker.table("polaris", "sales.orders")) == 3
    desk.prefixes = ("s3://lake/sales/orders", "s3://pond/orders")
    desk.broker.purge("polaris")
    with pytest.raises(ConfigurationError, match="2 sets of credentials"):
        credential_provider(desk.broker.table("polaris", "sales.orders"))()


@pytest.mark.parametrize("asked", [lambda source: credential_provider(source)(), storage_options])
def test_a_catalogs_token_opens_no_storage(desk: Desk, asked: Callable[[CredentialSource[Any]], Any]) -> None:
    with pytest.raises(ConfigurationError, match="its credentials are AccessToken, which open no storage"):
        asked(desk.broker.catalog("polaris"))


def test_what_the_issue_raises_comes_through_polars(desk: Desk, lake: CredentialSource[Any]) -> None:
    options: Any = storage_options(lake)
    provider = credential_provider(lake)
    desk.clock.advance(2 * HOUR.total_seconds())
    desk.provider.fail_with(IssueDenied("the role may not be assumed"))
    with pytest.raises(IssueDenied):
        pl.scan_parquet(URL, credential_provider=provider, storage_options=options).collect()
    assert desk.store.seen == []


def test_it_pickles_as_a_reference_and_shows_nothing(desk: Desk, lake: CredentialSource[Any]) -> None:
    provider = credential_provider(lake)
    provider()
    scan = pl.scan_parquet(URL, credential_provider=provider, storage_options=storage_options(lake))
    for data in (pickle.dumps(provider), pickle.dumps(scan)):
        assert CANARY.encode() not in data
    assert pickle.loads(data).collect().height == 3
    assert pickle.loads(pickle.dumps(provider))() == provider()
    assert CANARY not in f"{provider!r} {vars(provider)} {scan!r}"
