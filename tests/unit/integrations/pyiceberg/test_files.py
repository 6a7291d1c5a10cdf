from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.integrations.pyiceberg.conftest import CANARY, Desk

from credbroker import Access, S3Credentials
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.integrations.pyiceberg.files import Files
from credbroker.location import Location

ORDERS = "s3://lake/wh/sales/orders"


def stored(desk: Desk, *roots: str, access: Access = Access.READ) -> Files:
    return Files(desk.broker, "ledger", access, roots=roots)


def asked(desk: Desk) -> list[str]:
    return [str(location) for request in desk.storage.requests for location in request.locations]


def test_all_below_a_root_is_asked_for_once_as_that_root(desk: Desk) -> None:
    files = stored(desk, ORDERS)
    prefix, first = files.get(f"{ORDERS}/data/p=1/x.parquet")
    assert prefix == Location.parse(ORDERS)
    assert files.get(f"{ORDERS}/metadata/1.avro").credentials is first
    assert asked(desk) == [f"{ORDERS}/"]


def test_of_nested_roots_the_longest_serves(desk: Desk) -> None:
    files = stored(desk, ORDERS, f"{ORDERS}/data/elsewhere")
    assert files.get(f"{ORDERS}/data/elsewhere/x.parquet").prefix == Location.parse(f"{ORDERS}/data/elsewhere")


def test_a_catalogs_first_look_at_metadata_asks_for_that_tables_root(desk: Desk) -> None:
    stored(desk).get(f"{ORDERS}/metadata/1.metadata.json")
    assert asked(desk) == [f"{ORDERS}/"]


def test_a_file_from_elsewhere_in_the_profile_is_asked_for_by_its_folder(desk: Desk) -> None:
    stored(desk, ORDERS).get("s3://lake/wh/imports/may/x.parquet")
    assert asked(desk) == ["s3://lake/wh/imports/may/"]


def test_where_the_guessed_root_is_beyond_the_profile_the_folder_is_asked_for(desk: Desk) -> None:
    stored(desk).get("s3://lake/wh/metadata/x.json")
    assert asked(desk) == ["s3://lake/wh/"]


@pytest.mark.parametrize("location", ["s3://lake/finance/x", "s3://other/wh/x", "s3://lake/wh2/metadata/x.json"])
def test_nothing_beyond_the_profile_is_asked_for(desk: Desk, location: str) -> None:
    with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
        stored(desk, ORDERS).get(location)
    assert desk.storage.calls == 0


def test_a_table_outside_every_storage_profile_is_refused_before_its_first_file(desk: Desk) -> None:
    with pytest.raises(AccessDenied, match="s3://lake/finance/"):
        stored(desk, "s3://lake/finance")


def test_what_is_vended_is_chosen_by_prefix_and_nothing_else_serves(desk: Desk) -> None:
    desk.vends.update({f"{ORDERS}/": "WIDE", f"{ORDERS}/data/": "DATA"})
    files = Files(desk.broker, "production", Access.READ, table=("sales", "orders"))
    assert files.get(f"{ORDERS}/metadata/1.avro").credentials.access_key_id == "WIDE1"
    prefix, credentials = files.get(f"{ORDERS}/data/n=a%2Fb/x.parquet")
    assert (str(prefix), credentials.access_key_id) == (f"{ORDERS}/data/", "DATA1")
    with pytest.raises(AccessDenied, match="lies outside"):
        files.get("s3://lake/wh/sales/orders2/x.parquet")
    assert desk.tables.calls == 1
    assert desk.storage.calls == 0


def test_a_coroutine_is_served_the_same(desk: Desk) -> None:
    files = stored(desk, ORDERS)
    assert asyncio.run(files.aget(f"{ORDERS}/data/x")) == files.get(f"{ORDERS}/data/x")


def test_roots_are_known_within_a_block_only(desk: Desk) -> None:
    files = stored(desk)
    with files.rooted(ORDERS):
        assert files.get(f"{ORDERS}/data/p=1/x").prefix == Location.parse(ORDERS)
    assert files.get(f"{ORDERS}/data/p=1/x").prefix == Location.parse(f"{ORDERS}/data/p=1")


def test_reading_is_no_writing(desk: Desk) -> None:
    with pytest.raises(AccessDenied, match="access='read_write' to write"):
        stored(desk).need_write()
    stored(desk, access=Access.READ_WRITE).need_write()


def test_keys_that_are_empty_are_refused_since_clients_would_look_for_others(desk: Desk, monkeypatch: Any) -> None:
    monkeypatch.setattr(desk.storage, "_answer", lambda *_: S3Credentials("", SecretStr("")))
    with pytest.raises(ConfigurationError, match="empty key"):
        stored(desk, ORDERS).get(f"{ORDERS}/x")


def test_files_pickle_as_references_and_attach_again(desk: Desk) -> None:
    for files in (stored(desk, ORDERS), Files(desk.broker, "production", Access.READ, table=("sales", "orders"))):
        files.get(f"{ORDERS}/data/x")
        carried = pickle.dumps(files)
        assert CANARY.encode() not in carried
        assert pickle.loads(carried).get(f"{ORDERS}/data/x") == files.get(f"{ORDERS}/data/x")
        assert CANARY not in repr(files)
