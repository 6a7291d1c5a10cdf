from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from pyarrow.fs import S3FileSystem
from pydantic import SecretStr
from tests.unit.integrations.pyiceberg.conftest import CANARY, Desk

from credbroker import Access, S3Credentials
from credbroker.credentials import GCSCredentials
from credbroker.errors import AccessDenied, ConfigurationError, IssuerUnavailable
from credbroker.integrations.endpoint import Endpoint
from credbroker.integrations.pyiceberg import BrokerPyArrowFileIO
from credbroker.integrations.pyiceberg.arrow import s3_arguments
from credbroker.integrations.pyiceberg.files import PROPERTY, Files

ORDERS = "s3://lake/wh/sales/orders"
HERE = Endpoint("http://127.0.0.1:9", "us-east-1", virtual=False, proxy=None, ca_file=None)


def vended(desk: Desk, access: Access = Access.READ_WRITE, **properties: object) -> BrokerPyArrowFileIO:
    return BrokerPyArrowFileIO({PROPERTY: Files(desk.broker, "production", access, table=("sales", "orders")), **properties})


def test_one_file_system_serves_a_prefix_until_its_keys_are_replaced(desk: Desk) -> None:
    io = vended(desk)
    first = io.new_input(f"{ORDERS}/data/1.parquet")._filesystem
    assert io.new_output(f"{ORDERS}/data/2.parquet")._filesystem is first
    desk.clock.advance(timedelta(hours=2).total_seconds())
    second = io.new_input(f"{ORDERS}/data/3.parquet")._filesystem
    assert second is not first
    assert desk.tables.calls == 2
    assert [held for _, held in io._current.values()] == [second]


def test_the_same_keys_vended_again_keep_the_file_system_and_its_connections(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = desk.tables._answer
    assert answer is not None
    monkeypatch.setattr(desk.tables, "_answer", lambda _, *rest: answer(1, *rest))
    io = vended(desk)
    first = io.new_input(f"{ORDERS}/data/1.parquet")._filesystem
    desk.clock.advance(timedelta(hours=2).total_seconds())
    assert io.new_input(f"{ORDERS}/data/1.parquet")._filesystem is first
    assert desk.tables.calls == 2


def test_each_prefix_has_its_own_keys(desk: Desk) -> None:
    desk.vends["s3://lake/wh/sales/orders/data/"] = "DATA"
    io = vended(desk)
    assert io.new_input(f"{ORDERS}/data/1.parquet")._filesystem is not io.new_input(f"{ORDERS}/metadata/1.avro")._filesystem
    assert len(io._current) == 2


def test_what_nothing_serves_is_refused(desk: Desk) -> None:
    for location in ("s3://lake/wh/sales/orders2/x", "s3://lake/finance/x"):
        with pytest.raises(AccessDenied, match="lies outside"):
            vended(desk).new_input(location)
    for location in ("file:///etc/passwd", "/etc/passwd", "hdfs://x/y", f"{ORDERS}/../../x"):
        with pytest.raises(ConfigurationError, match="refused"):
            vended(desk).new_input(location)


def test_to_write_or_delete_needs_access_to_write(desk: Desk) -> None:
    io = vended(desk, Access.READ)
    for change in (io.new_output, io.delete):
        with pytest.raises(AccessDenied, match="access='read_write' to write"):
            change(f"{ORDERS}/data/1.parquet")
    assert desk.tables.calls == 0


def test_the_stock_file_systems_cannot_be_had(desk: Desk) -> None:
    io = vended(desk)
    for scheme in ("s3", "file", "gs", "abfss", "hdfs", "oss"):
        with pytest.raises(ConfigurationError, match="no file system"):
            io.fs_by_scheme(scheme, "lake")


def test_properties_alone_make_no_file_io() -> None:
    for properties in ({}, {"s3.access-key-id": "x"}, {PROPERTY: "production"}):
        with pytest.raises(ConfigurationError, match="made by a catalog"):
            BrokerPyArrowFileIO(properties)


def test_an_issuer_that_fails_is_the_callers_error_and_no_other_identity_is_used(desk: Desk) -> None:
    desk.tables.fail_with(IssuerUnavailable("down"))
    with pytest.raises(IssuerUnavailable):
        vended(desk).new_input(f"{ORDERS}/data/1.parquet")


def test_keys_of_another_store_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.storage, "_answer", lambda *_: GCSCredentials(SecretStr("x")))
    io = BrokerPyArrowFileIO({PROPERTY: Files(desk.broker, "ledger", Access.READ)})
    with pytest.raises(ConfigurationError, match="GCSCredentials"):
        io.new_input(f"{ORDERS}/metadata/1.json")


def test_nothing_is_left_for_arrow_to_find_in_the_environment() -> None:
    arguments = s3_arguments(S3Credentials("id", SecretStr("secret"), SecretStr("token")), HERE)
    assert arguments == {
        "access_key": "id",
        "secret_key": "secret",
        "session_token": "token",
        "region": "us-east-1",
        "endpoint_override": "http://127.0.0.1:9",
        "force_virtual_addressing": False,
    }


def test_what_tunes_reaches_arrow_and_so_does_the_network_section() -> None:
    place = HERE._replace(proxy="http://proxy:3128", ca_file="/ca.pem")
    properties = {"s3.connect-timeout": "5", "s3.request-timeout": "60"}
    arguments = s3_arguments(S3Credentials("id", SecretStr("secret")), place, properties)
    assert (arguments["connect_timeout"], arguments["request_timeout"]) == (5.0, 60.0)
    assert (arguments["proxy_options"], arguments["tls_ca_file_path"]) == ("http://proxy:3128", "/ca.pem")
    assert arguments["session_token"] is None
    assert S3FileSystem(**{**arguments, "tls_ca_file_path": None})


def test_a_file_io_pickles_as_a_reference(desk: Desk) -> None:
    io = vended(desk, **{"buffer-size": "1000"})
    io.new_input(f"{ORDERS}/data/1.parquet")
    carried = pickle.dumps(io)
    assert CANARY.encode() not in carried
    assert b"VENDED" not in carried
    again = pickle.loads(carried)
    assert again._current == {}
    assert again.new_input(f"{ORDERS}/data/1.parquet")._buffer_size == 1000
    assert desk.tables.calls == 1
