from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pyiceberg.catalog import load_catalog as stock_load_catalog
from pyiceberg.exceptions import NoSuchTableError, UnauthorizedError
from tests.unit.integrations.pyiceberg.conftest import CANARY, SCHEMA, CatalogServer, Desk, metadata

from credbroker import Broker
from credbroker.credentials import GCSCredentials, TableCredentials
from credbroker.errors import AccessDenied, ConfigurationError, MalformedResponse
from credbroker.integrations.pyiceberg import BrokerPyArrowFileIO, BrokerRestCatalog, load_catalog
from credbroker.location import Location

STOCK_IO = "pyiceberg.io.pyarrow.PyArrowFileIO"
IMPLEMENTATION = {"py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerRestCatalog"}


def catalog(desk: Desk, name: str = "production", **properties: Any) -> BrokerRestCatalog:
    made = load_catalog(desk.broker, name, **properties)
    assert isinstance(made, BrokerRestCatalog)
    return made


def texts(properties: dict[str, Any]) -> str:
    return repr({key: value for key, value in properties.items() if isinstance(value, str)})


def test_a_catalog_is_loaded_by_name_with_one_token(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    made = catalog(desk)
    assert made.name == "production"
    made.load_table("sales.orders")
    assert desk.tokens.calls == 1
    assert {request.token for request in server.asked} == {f"Bearer {CANARY}-1"}
    assert server.asked[0].path == "/v1/config?warehouse=lake"
    assert server.asked[0].headers["x-team"] == "data"


def test_the_server_is_not_asked_to_vend_into_pyicebergs_properties(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    catalog(desk).load_table("sales.orders")
    assert all("x-iceberg-access-delegation" not in request.headers for request in server.asked)


@pytest.mark.parametrize("status", [401, 419])
def test_a_refused_token_is_recovered_from_once(desk: Desk, server: CatalogServer, status: int) -> None:
    server.table("orders", metadata())
    made = catalog(desk)
    server.refused[f"Bearer {CANARY}-1"] = status
    server.asked.clear()
    assert made.load_table("sales.orders").name() == ("sales", "orders")
    assert [request.token for request in server.asked] == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]


def test_a_token_that_stays_refused_is_the_callers_error_after_two_requests(desk: Desk, server: CatalogServer) -> None:
    made = catalog(desk)
    server.refused.update({f"Bearer {CANARY}-{number}": 401 for number in range(9)})
    server.asked.clear()
    with pytest.raises(UnauthorizedError, match="'production' refuses the broker's token"):
        made.load_table("sales.orders")
    assert len(server.asked) == 2
    assert desk.tokens.calls == 2


def test_a_token_refused_while_loading_is_recovered_from_too(desk: Desk, server: CatalogServer) -> None:
    server.refused[f"Bearer {CANARY}-1"] = 401
    assert catalog(desk).properties["warehouse"] == "lake"
    assert desk.tokens.calls == 2


@pytest.mark.parametrize("part", ["defaults", "overrides"])
def test_the_server_cannot_swap_anything(desk: Desk, server: CatalogServer, part: str) -> None:
    evil = {
        "uri": "http://evil.example",
        "token": "evil",
        "credential": "evil:evil",
        "oauth2-server-uri": "http://evil.example",
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
        "s3.endpoint": "http://evil.example",
        "s3.access-key-id": "evil",
        "s3.connect-timeout": "0.001",
        "rest.sigv4-enabled": "true",
        "header.X-Evil": "evil",
        "warehouse": "s3://evil",
        "credbroker.catalog": "ledger",
        "credbroker.config": "/evil.yaml",
        "credbroker.files": "evil",
        "rest-page-size": "evil",
        "snapshot-loading-mode": "evil",
    }
    server.config[part] = {**evil, "prefix": "lake"}
    server.routes["/v1/lake/namespaces/sales/tables/orders"] = (200, metadata(), {})
    made = catalog(desk)
    table = made.load_table("sales.orders")
    assert "evil" not in repr(made.properties)
    assert made.uri == server.url
    assert isinstance(table.io, BrokerPyArrowFileIO)
    assert set(table.io.properties) == {"credbroker.files", "py-io-impl"}
    assert table.io.properties["py-io-impl"] == "credbroker.integrations.pyiceberg.BrokerPyArrowFileIO"
    assert "ledger" not in repr(table.io.properties)
    assert all("x-evil" not in request.headers for request in server.asked)


@pytest.mark.parametrize("separator", ["/../../../admin/", "?x=", "#", "%2F", "\\", "....", "a"])
def test_the_servers_namespace_separator_leads_nowhere_else(desk: Desk, server: CatalogServer, separator: str) -> None:
    server.config["overrides"] = {"namespace-separator": separator}
    with pytest.raises(MalformedResponse, match="namespace-separator"):
        catalog(desk)


@pytest.mark.parametrize("config", [{"defaults": None}, {"defaults": 5}, {"overrides": {"namespace-separator": ""}}, []])
def test_a_configuration_of_the_wrong_shape_is_a_malformed_response(desk: Desk, server: CatalogServer, config: Any) -> None:
    server.config = config
    with pytest.raises(MalformedResponse):
        catalog(desk)


def test_the_servers_namespace_separator_may_be_a_dot(desk: Desk, server: CatalogServer) -> None:
    server.config["overrides"] = {"namespace-separator": "."}
    catalog(desk).table_exists(("a", "b", "t"))
    assert server.asked[-1].path.partition("?")[0] == "/v1/namespaces/a.b/tables/t"


@pytest.mark.parametrize("prefix", ["../admin", "a/../../b", "%2e%2e/admin", "a//b", "x?y=z#"])
def test_the_servers_prefix_leads_nowhere_else(desk: Desk, server: CatalogServer, prefix: str) -> None:
    server.config["overrides"] = {"prefix": prefix}
    with pytest.raises(MalformedResponse, match="prefix is no path"):
        catalog(desk)


def test_neither_a_tables_config_nor_its_properties_reach_its_file_io(desk: Desk, server: CatalogServer) -> None:
    evil = {
        "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
        "s3.endpoint": "http://evil.example",
        "s3.access-key-id": "evil",
        "s3.anonymous": "true",
        "token": "evil",
        "credbroker.files": "evil",
        "credbroker.catalog": "ledger",
        "buffer-size": "evil",
    }
    reply = metadata(**evil, **{"write.target-file-size-bytes": "1000"})
    vended = {"storage-credentials": [{"prefix": "s3://lake", "config": evil}]}
    server.table("orders", {**reply, "config": evil, **vended})
    table = catalog(desk).load_table("sales.orders")
    assert isinstance(table.io, BrokerPyArrowFileIO)
    assert set(table.io.properties) == {"credbroker.files", "py-io-impl"}
    assert table.io.properties["py-io-impl"] == "credbroker.integrations.pyiceberg.BrokerPyArrowFileIO"
    assert table.config == {}
    assert table.properties["write.target-file-size-bytes"] == "1000"
    assert "evil" not in repr(table.io.properties)


def test_a_table_that_names_code_to_run_when_it_is_written_is_read_only(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata(**{"write.py-location-provider.impl": "evil.Provider"}))
    assert catalog(desk).load_table("sales.orders").metadata.location
    with pytest.raises(ConfigurationError, match="names code to run"):
        load_catalog(desk.broker, "production", access="read_write").load_table("sales.orders")


@pytest.mark.parametrize(
    "path", ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"]
)
@pytest.mark.parametrize(
    ("elsewhere", "refusal"),
    [
        ("s3://lake/finance", (AccessDenied, r"s3://lake/finance/, outside of .*storage\.lake\.locations")),
        ("s3://lake", (AccessDenied, "s3://lake/, outside of")),
        ("gs://lake/wh", (AccessDenied, "gs://lake/wh/, outside of")),
        ("file:///data", (ConfigurationError, "is no place for files")),
    ],
)
def test_a_table_that_would_write_outside_is_not_loaded_though_the_catalog_vends_for_it(
    desk: Desk, server: CatalogServer, path: str, elsewhere: str, refusal: tuple[type[Exception], str]
) -> None:
    raised, named = refusal
    server.table("orders", metadata(**{path: elsewhere}))
    with pytest.raises(raised, match=named):
        catalog(desk).load_table("sales.orders")
    server.routes["/v1/namespaces/sales/tables"] = (200, metadata("s3://lake/wh/sales/new", **{path: elsewhere}), {})
    with pytest.raises(raised, match=elsewhere):
        load_catalog(desk.broker, "production", access="read_write").create_table_transaction("sales.new", SCHEMA)
    assert (desk.tables.calls, desk.storage.calls) == (0, 0)


def test_a_table_at_a_location_outside_is_not_loaded(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata("s3://lake/finance/ledger"))
    with pytest.raises(AccessDenied, match="s3://lake/finance/ledger/, outside of what its profile allows"):
        catalog(desk).load_table("sales.orders")


def test_a_table_that_writes_elsewhere_inside_the_profile_is_loaded(desk: Desk, server: CatalogServer) -> None:
    server.table(
        "orders", metadata(**{"write.data.path": "s3://lake/wh/blocks", "write.metadata.path": "s3://lake/wh/meta"})
    )
    assert catalog(desk).load_table("sales.orders").properties["write.data.path"] == "s3://lake/wh/blocks"


def test_keys_of_another_store_than_s3_are_refused_at_the_file_by_name(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    table = catalog(desk).load_table("sales.orders")
    ends = desk.clock.now() + timedelta(hours=1)
    vended = TableCredentials(((Location.parse("s3://lake/wh"), GCSCredentials(SecretStr(CANARY), expires_at=ends)),))
    desk.tables._answer = lambda *_: vended
    with pytest.raises(ConfigurationError, match="GCSCredentials: PyIceberg gets S3 credentials only here"):
        table.io.new_input("s3://lake/wh/sales/orders/data/x.parquet")


@pytest.mark.parametrize("key", ["credbroker.access", "credbroker.config", "credbroker.io", "py-catalog-impl"])
def test_what_is_an_argument_of_load_catalog_is_no_property_of_it(desk: Desk, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        load_catalog(desk.broker, "production", **{key: "x"})


def test_an_open_file_is_not_pickled_with_its_keys(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    io = catalog(desk).load_table("sales.orders").io
    with pytest.raises(TypeError, match="pickle the table"):
        pickle.dumps(io.new_input("s3://lake/wh/sales/orders/data/x.parquet"))


def test_a_tables_own_token_is_not_sent_with_its_commit(desk: Desk, server: CatalogServer) -> None:
    reply = metadata()
    server.table("orders", {**reply, "config": {"token": "of-the-table"}})
    made = load_catalog(desk.broker, "production", access="read_write")
    with made.load_table("sales.orders").transaction() as change:
        change.set_properties(a="b")
    assert [request.method for request in server.asked][-1] == "POST"
    assert {request.token for request in server.asked} == {f"Bearer {CANARY}-1"}


def test_what_tunes_a_file_io_is_passed_on(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    table = catalog(desk, **{"s3.connect-timeout": "5"}).load_table("sales.orders")
    assert table.io.properties["s3.connect-timeout"] == "5"


@pytest.mark.parametrize(
    "key", ["uri", "token", "py-io-impl", "s3.endpoint", "auth", "header.authorization", "warehouse", "binding"]
)
def test_a_redirecting_property_is_refused_before_anything_is_sent(desk: Desk, server: CatalogServer, key: str) -> None:
    with pytest.raises(ConfigurationError, match=repr(key)):
        load_catalog(desk.broker, "production", **{key: "evil"})  # type: ignore[arg-type]
    assert server.asked == []


def test_what_the_profile_says_beside_tuning_is_left_out_with_a_warning(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    made = catalog(desk)
    assert made.properties["rest-page-size"] == "50"
    assert "s3.endpoint" not in made.properties
    assert "catalogs.production.properties: s3.endpoint not used" in caplog.text
    assert "evil.example" not in caplog.text


@pytest.mark.parametrize(("argument", "word"), [("access", "write"), ("access", "admin"), ("io", "hadoop")])
def test_a_word_that_is_none_is_named(desk: Desk, argument: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{word}'"):
        load_catalog(desk.broker, "production", **{argument: word})  # type: ignore[arg-type]


def test_a_profile_of_another_type_or_none_is_an_error_that_says_so(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="is 'sql': this class is for rest and polaris"):
        BrokerRestCatalog("ledger", binding=catalog(desk)._binding.of(desk.broker, "ledger", "read", "pyarrow"))
    with pytest.raises(ConfigurationError, match="it exists under storage"):
        load_catalog(desk.broker, "lake")


def test_a_staged_table_has_the_storage_profile(desk: Desk, server: CatalogServer) -> None:
    server.routes["/v1/namespaces/sales/tables"] = (200, metadata("s3://lake/wh/sales/new"), {})
    made = load_catalog(desk.broker, "production", access="read_write")
    staged = made.create_table_transaction("sales.new", SCHEMA)._table
    assert isinstance(staged.io, BrokerPyArrowFileIO)
    staged.io.new_output("s3://lake/wh/sales/new/data/x.parquet")
    assert desk.tables.calls == 0
    assert [str(request.locations[0]) for request in desk.storage.requests] == ["s3://lake/wh/sales/new/"]


def test_a_staged_table_that_no_storage_profile_contains_is_refused_at_once(desk: Desk, server: CatalogServer) -> None:
    server.routes["/v1/namespaces/sales/tables"] = (200, metadata("s3://elsewhere/new"), {})
    made = load_catalog(desk.broker, "production", access="read_write")
    with pytest.raises(AccessDenied, match="no storage profile of the catalog contains s3://elsewhere/new/"):
        made.create_table_transaction("sales.new", SCHEMA)


def test_tables_of_dotted_namespaces_are_asked_for_by_their_levels(desk: Desk, server: CatalogServer) -> None:
    server.routes["/v1/namespaces/a.b/tables/t"] = (200, metadata(), {})
    table = catalog(desk).load_table(("a.b", "t"))
    table.io.new_input("s3://lake/wh/sales/orders/data/x.parquet")
    assert desk.tables.requests[0].table == ("a.b", "t")


def test_a_missing_table_is_pyicebergs_own_error(desk: Desk) -> None:
    with pytest.raises(NoSuchTableError):
        catalog(desk).load_table("sales.nothing")


def test_catalog_table_scan_and_file_io_pickle_without_a_secret_and_attach_again(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    made = catalog(desk, "hidden")
    table = made.load_table("sales.orders")
    table.io.new_input("s3://lake/wh/sales/orders/data/x.parquet")
    for thing in (made, table, table.scan(), table.io):
        carried = pickle.dumps(thing)
        assert CANARY.encode() not in carried
        assert server.url.encode() not in carried  # the profile has it by reference
        assert b"VENDED" not in carried
    again = pickle.loads(pickle.dumps(table))
    assert again.refresh().metadata == table.metadata
    assert isinstance(again.io, BrokerPyArrowFileIO)
    again.io.new_input("s3://lake/wh/sales/orders/data/x.parquet")
    assert (desk.tokens.calls, desk.tables.calls) == (1, 1)


def test_an_unpickled_catalog_sends_nothing_until_it_is_used(desk: Desk, server: CatalogServer) -> None:
    carried = pickle.dumps(catalog(desk))
    server.asked.clear()
    pickle.loads(carried)
    assert server.asked == []


def test_no_property_and_no_repr_holds_a_secret(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    made = catalog(desk, "hidden")
    table = made.load_table("sales.orders")
    table.io.new_input("s3://lake/wh/sales/orders/data/x.parquet")
    for shown in (made.properties, table.io.properties, made, table.io, table.config):
        assert CANARY not in repr(shown)
    assert server.url not in repr(made.properties)


def test_a_plain_http_catalog_elsewhere_is_refused(desk: Desk, tmp_path: Path) -> None:
    settings = {
        "catalogs": {"far": {"uri": "http://catalog.example", "credentials": {"mode": "oauth2"}}},
        "environment": "local",
    }
    with Broker.from_config(settings, providers={"oauth2": desk.tokens}) as broker:
        with pytest.raises(ConfigurationError, match="plain http"):
            load_catalog(broker, "far")
        assert desk.tokens.calls == 0


class TestByStrings:
    """``py-catalog-impl`` and ``credbroker.*``, through PyIceberg's own ``load_catalog``."""

    @pytest.fixture
    def platform(self, server: CatalogServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        path = tmp_path / "platform.yaml"
        path.write_text(
            f"""
environment: local
catalogs:
  production:
    uri: {server.url}
    credentials: {{mode: oauth2, client_id: pipeline, client_secret: {{secret_ref: pipeline-secret}}}}
"""
        )
        monkeypatch.setenv("PIPELINE_SECRET", f"{CANARY}-client-secret")
        server.table("orders", metadata())
        yield str(path)
        Broker.shared(path).close()

    def test_the_configuration_is_named_by_a_property(self, platform: str, server: CatalogServer) -> None:
        words = {**IMPLEMENTATION, "credbroker.config": platform, "credbroker.access": "read_write"}
        made = stock_load_catalog("production", **words)
        again = stock_load_catalog("other", **{**words, "credbroker.catalog": "production"})
        assert isinstance(made, BrokerRestCatalog)
        assert (made.name, again.name) == ("production", "other")
        assert made._binding.access == "read_write"
        assert made._binding.broker._brokerage is again._binding.broker._brokerage
        assert CANARY not in repr(made.properties)
        assert [request.path for request in server.asked].count("/v1/oauth/tokens") == 1
        assert CANARY.encode() not in pickle.dumps(made.load_table("sales.orders"))

    def test_or_by_the_environment(self, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREDBROKER_CONFIG", platform)
        made = stock_load_catalog("production", **IMPLEMENTATION)
        assert isinstance(made.load_table("sales.orders").io, BrokerPyArrowFileIO)

    def test_or_by_pyicebergs_own_configuration(
        self, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".pyiceberg.yaml").write_text(
            f"catalog:\n  named:\n    credbroker.config: {platform}\n    credbroker.catalog: production\n"
        )
        monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
        monkeypatch.setenv("PYICEBERG_CATALOG__NAMED__CREDBROKER__ACCESS", "read_write")
        made = stock_load_catalog("named", **IMPLEMENTATION)
        assert isinstance(made, BrokerRestCatalog)
        assert (made._binding.catalog, made._binding.access) == ("production", "read_write")

    def test_what_redirects_is_refused_there_too(
        self, platform: str, server: CatalogServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = {**IMPLEMENTATION, "credbroker.config": platform}
        for key in ("uri", "token", "s3.endpoint", "credbroker.files", "binding"):
            with pytest.raises(ConfigurationError, match=repr(key)):
                stock_load_catalog("production", **words, **{key: "evil"})
        (tmp_path / ".pyiceberg.yaml").write_text("catalog:\n  production:\n    uri: http://evil.example\n")
        monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
        with pytest.raises(ConfigurationError, match="'uri'"):
            stock_load_catalog("production", **words)
        assert server.asked == []

    def test_without_any_configuration_the_error_says_what_to_set(self) -> None:
        with pytest.raises(ConfigurationError, match="CREDBROKER_CONFIG"):
            stock_load_catalog("production", **IMPLEMENTATION)


def test_the_stock_catalog_takes_what_ours_refuses(server: CatalogServer) -> None:
    """The peril is real."""
    server.config["overrides"] = {"header.X-Evil": "evil"}
    swapped = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO", "s3.endpoint": "http://evil.example"}
    server.table("orders", metadata(**swapped))
    stock = stock_load_catalog("stock", type="rest", uri=server.url, token="token", **{"py-io-impl": STOCK_IO})
    table = stock.load_table("sales.orders")
    assert type(table.io).__name__ == "FsspecFileIO"
    assert table.io.properties["s3.endpoint"] == "http://evil.example"
    assert server.asked[-1].headers["x-evil"] == "evil"
