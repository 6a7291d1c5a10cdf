from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import load_catalog as stock_load_catalog
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.unit.integrations.pyiceberg.conftest import CANARY, SCHEMA, Desk, configuration, metadata

from credbroker import Broker
from credbroker.context import Context
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.integrations.pyiceberg import BrokerPyArrowFileIO, BrokerSqlCatalog, load_catalog

ORDERS = "s3://lake/wh/sales/orders"


class FolderAsStore:
    """Stands for ``pyarrow.fs.S3FileSystem``: the same paths, in a folder; who opened what with which key is kept."""

    def __init__(self, folder: Path) -> None:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        self.made: list[dict[str, Any]] = []
        self._tree = SubTreeFileSystem(str(folder), LocalFileSystem())
        (folder / "lake").mkdir()

    def __call__(self, **arguments: Any) -> Any:
        self.made.append(arguments)
        return _Creating(self._tree)


class _Creating:
    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def open_output_stream(self, path: str, **options: Any) -> Any:
        self._tree.create_dir(path.rpartition("/")[0], recursive=True)
        return self._tree.open_output_stream(path, **options)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderAsStore:
    folder = tmp_path / "store"
    folder.mkdir()
    made = FolderAsStore(folder)
    monkeypatch.setattr("credbroker.integrations.pyiceberg.arrow.S3FileSystem", made)
    return made


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """Closes what a catalog leaves to its engine's pool; from Python 3.13 on an open database is a warning."""
    made: list[Any] = []

    def keep(connection: Any, _: object) -> None:
        made.append(connection)

    event.listen(Engine, "connect", keep)
    yield
    event.remove(Engine, "connect", keep)
    for connection in made:
        connection.close()


@pytest.fixture
def catalog(desk: Desk, store: FolderAsStore) -> BrokerSqlCatalog:
    made = load_catalog(desk.broker, "ledger", access="read_write")
    assert isinstance(made, BrokerSqlCatalog)
    made.create_namespace("sales")
    return made


def asked(desk: Desk) -> set[str]:
    return {str(location) for request in desk.storage.requests for location in request.locations}


def test_create_commit_and_purge_ask_for_the_tables_location_and_no_more(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    table = catalog.create_table("sales.orders", SCHEMA)
    with table.transaction() as change:
        change.set_properties(a="b")
    assert catalog.load_table("sales.orders").properties == {"a": "b"}
    catalog.purge_table("sales.orders")
    assert not catalog.table_exists("sales.orders")
    assert asked(desk) == {f"{ORDERS}/"}
    assert desk.storage.calls == 1


def test_a_staged_table_works_as_any_other(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    with catalog.create_table_transaction("sales.new", SCHEMA) as creation:
        creation.set_properties(a="b")
    assert catalog.load_table("sales.new").properties["a"] == "b"
    assert asked(desk) == {"s3://lake/wh/sales/new/"}


def test_a_table_outside_the_profiles_storage_is_refused(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    for location in ("s3://lake/finance/x", "s3://lake/wh2/x", "s3://other/wh/x"):
        with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
            catalog.create_table("sales.orders", SCHEMA, location=location)
    assert desk.storage.calls == 0


def test_metadata_that_names_a_location_outside_is_refused(desk: Desk, catalog: BrokerSqlCatalog, tmp_path: Path) -> None:
    catalog.create_table("sales.orders", SCHEMA)
    (file,) = (tmp_path / "store/lake/wh/sales/orders/metadata").iterdir()
    file.write_text(json.dumps(metadata("s3://lake/finance/ledger")["metadata"]))
    with pytest.raises(AccessDenied, match="s3://lake/finance/ledger/"):
        catalog.load_table("sales.orders")


def test_a_tables_properties_swap_nothing(desk: Desk, catalog: BrokerSqlCatalog, store: FolderAsStore) -> None:
    evil = {
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
        "s3.endpoint": "http://evil.example",
        "s3.access-key-id": "evil",
        "s3.anonymous": "true",
        "credbroker.files": "evil",
        "credbroker.catalog": "vault",
    }
    catalog.create_table("sales.orders", SCHEMA, properties=evil)
    table = catalog.load_table("sales.orders")
    assert isinstance(table.io, BrokerPyArrowFileIO)
    assert set(table.io.properties) == {"credbroker.files", "py-io-impl"}
    assert {arguments["endpoint_override"] for arguments in store.made} == {"http://127.0.0.1:9"}
    assert "evil" not in repr(store.made)
    with pytest.raises(AccessDenied, match="s3://lake/finance/data/"):
        table.io.new_output("s3://lake/finance/data/x.parquet")


PATHS = ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("elsewhere", ["s3://lake/finance", "s3://lake/wh2", "s3://lake", "s3://other/wh", "gs://lake/wh"])
def test_a_table_that_would_write_outside_is_neither_made_nor_loaded_nor_changed_to(
    desk: Desk, catalog: BrokerSqlCatalog, tmp_path: Path, path: str, elsewhere: str
) -> None:
    """CVE-2026-42812: whoever may alter a table changes one of its paths, and what writes it follows."""
    with pytest.raises(AccessDenied, match=f"{elsewhere}/"):
        catalog.create_table("sales.orders", SCHEMA, properties={path: elsewhere})
    with pytest.raises(AccessDenied, match=f"{elsewhere}/"):
        catalog.create_table_transaction("sales.orders", SCHEMA, properties={path: elsewhere})
    assert not catalog.table_exists("sales.orders")
    assert desk.storage.calls == 0
    table = catalog.create_table("sales.orders", SCHEMA)
    with pytest.raises(AccessDenied, match=f"{elsewhere}/"), table.transaction() as change:
        change.set_properties({path: elsewhere})
    (file,) = (tmp_path / "store/lake/wh/sales/orders/metadata").iterdir()
    file.write_text(json.dumps(metadata(ORDERS, **{path: elsewhere})["metadata"]))
    with pytest.raises(AccessDenied, match=f"{elsewhere}/"):
        catalog.load_table("sales.orders")
    assert asked(desk) == {f"{ORDERS}/"}


def test_the_catalogs_own_locations_bound_its_tables_too(tmp_path: Path, store: FolderAsStore, desk: Desk) -> None:
    settings = configuration("http://127.0.0.1:9", tmp_path / "ledger.db")
    settings["catalogs"]["ledger"]["locations"] = ["s3://lake/wh/sales/"]
    with Broker.from_config(settings, providers={"iam_role": desk.storage}, context=Context(clock=desk.clock)) as broker:
        made = load_catalog(broker, "ledger", access="read_write")
        made.create_namespace("sales")
        made.create_table("sales.orders", SCHEMA, properties={"write.data.path": "s3://lake/wh/sales/blocks"})
        with pytest.raises(AccessDenied, match=r"at s3://lake/wh/blocks/, outside of .*catalogs\.ledger\.locations"):
            made.create_table("sales.more", SCHEMA, properties={"write.data.path": "s3://lake/wh/blocks"})


def test_a_data_path_inside_the_profile_is_a_root_of_its_own(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    elsewhere = "s3://lake/wh/blocks"
    table = catalog.create_table("sales.orders", SCHEMA, properties={"write.data.path": elsewhere})
    table.io.new_output(f"{elsewhere}/p=1/x.parquet")
    assert asked(desk) == {f"{ORDERS}/", f"{elsewhere}/"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("nowhere", ["file:///data", "/data", "data", "s3://lake/wh/%2e%2e/x", "s3://lake/wh/../x", " "])
def test_a_path_that_is_no_location_is_refused_with_the_table(
    desk: Desk, catalog: BrokerSqlCatalog, tmp_path: Path, path: str, nowhere: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"property '{path}' is no place for files"):
        catalog.create_table("sales.orders", SCHEMA, properties={path: nowhere})
    assert not catalog.table_exists("sales.orders")
    catalog.create_table("sales.orders", SCHEMA)
    (file,) = (tmp_path / "store/lake/wh/sales/orders/metadata").iterdir()
    file.write_text(json.dumps(metadata(ORDERS, **{path: nowhere})["metadata"]))
    with pytest.raises(ConfigurationError, match=f"property '{path}' is no place for files"):
        catalog.load_table("sales.orders")


def test_an_empty_path_is_none(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    table = catalog.create_table("sales.orders", SCHEMA, properties=dict.fromkeys(PATHS, ""))
    assert table.location_provider().data_path == f"{ORDERS}/data"


@pytest.mark.parametrize("uri", ["gs://lake/wh/x.parquet", "abfss://data@acct.dfs.core.windows.net/x.parquet", "file:///x"])
def test_files_of_another_store_are_refused_by_name(desk: Desk, catalog: BrokerSqlCatalog, uri: str) -> None:
    table = catalog.create_table("sales.orders", SCHEMA)
    with pytest.raises(ConfigurationError, match="only s3:// files are served"):
        table.io.new_input(uri)


def test_a_catalog_that_was_loaded_to_read_writes_and_purges_nothing(desk: Desk, catalog: BrokerSqlCatalog) -> None:
    catalog.create_table("sales.orders", SCHEMA)
    reader = load_catalog(desk.broker, "ledger")
    for change in (lambda: reader.create_table("sales.more", SCHEMA), lambda: reader.purge_table("sales.orders")):
        with pytest.raises(AccessDenied, match="access='read_write' to write"):
            change()
    assert reader.table_exists("sales.orders")


def test_a_database_by_reference_is_shown_by_nobody(desk: Desk, store: FolderAsStore) -> None:
    made = load_catalog(desk.broker, "vault", access="read_write", warehouse="s3://lake/wh")
    made.create_namespace("sales")
    table = made.create_table("sales.orders", SCHEMA)
    for shown in (made.properties, made, table.io.properties):
        assert CANARY not in repr(shown)
    for thing in (made, table, table.scan(), table.io):
        carried = pickle.dumps(thing)
        assert CANARY.encode() not in carried
        pickle.loads(carried)
    again = pickle.loads(pickle.dumps(table))
    assert again.refresh().metadata == table.metadata
    assert isinstance(again.catalog.load_table("sales.orders").io, BrokerPyArrowFileIO)


@pytest.mark.parametrize("uri", [f"not a url {CANARY}", f"sqlite://user:{CANARY}@host/", f"nothing-known://{CANARY}@host/"])
def test_a_uri_that_is_none_is_an_error_without_it(desk: Desk, uri: str) -> None:
    desk.broker._brokerage.context.secrets.known["database-uri"] = uri  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=r"catalogs\.vault\.uri is no database URL") as error:
        load_catalog(desk.broker, "vault")
    assert CANARY not in str(error.value)


def test_a_profile_of_another_type_is_an_error_that_says_so(desk: Desk) -> None:
    binding = load_catalog(desk.broker, "vault")._binding  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="is 'rest': this class is for sql"):
        BrokerSqlCatalog("production", binding=binding.of(desk.broker, "production", "read", "pyarrow"))


def test_strings_alone_do_it_too(tmp_path: Path) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(
        f"""
environment: local
catalogs:
  ledger: {{type: sql, uri: "sqlite:///{tmp_path}/ledger.db", storage: lake}}
storage:
  lake:
    locations: ["s3://lake/wh/"]
    credentials: {{mode: iam_role, role_arn: "arn:aws:iam::123456789012:role/Pipe", credential_source: environment}}
"""
    )
    words = {
        "py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerSqlCatalog",
        "credbroker.config": str(path),
        "credbroker.catalog": "ledger",
        "credbroker.access": "read_write",
    }
    try:
        made = stock_load_catalog("accounts", **words)
        made.create_namespace("sales")
        assert made.list_namespaces() == [("sales",)]
        # The same profile by another name is the same catalog; and one that was loaded to read changes nothing.
        again = stock_load_catalog("others", **{**words, "credbroker.access": "read"})
        assert again.list_namespaces() == [("sales",)]
        for change in (again.create_namespace, again.drop_namespace):
            with pytest.raises(AccessDenied, match="loaded with access='read'"):
                change("sales")
        with pytest.raises(AccessDenied, match="loaded with access='read'"):
            again.drop_table("sales.orders")
        with pytest.raises(AccessDenied, match="loaded with access='read'"):
            again.rename_table("sales.orders", "sales.others")
        with pytest.raises(AccessDenied, match="loaded with access='read'"):
            again.update_namespace_properties("sales", updates={"owner": "me"})
        with pytest.raises(AccessDenied, match="loaded with access='read'"):
            again.register_table("sales.taken", "s3://lake/wh/x/metadata/1.json")
        with pytest.raises(AccessDenied, match="loaded with access='read'"):
            again.commit_table(made, (), ())
        with pytest.raises(ConfigurationError, match="'uri'"):
            stock_load_catalog("accounts", **words, uri="sqlite://")
    finally:
        Broker.shared(str(path)).close()
