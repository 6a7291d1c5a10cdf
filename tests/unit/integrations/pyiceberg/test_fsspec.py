from __future__ import annotations

import asyncio
import pickle
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tests.unit.integrations.pyiceberg.conftest import CANARY, CatalogServer, Desk, metadata

from credbroker import Access
from credbroker.config.settings import NetworkSettings
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.integrations.pyiceberg import BrokerFsspecFileIO, load_catalog
from credbroker.integrations.pyiceberg.files import PROPERTY, Files
from credbroker.integrations.pyiceberg.paths import file_location
from credbroker.integrations.pyiceberg.signing import BrokerCredentials, session_for

ORDERS = "s3://lake/wh/sales/orders"


def files(desk: Desk, access: Access = Access.READ_WRITE) -> Files:
    return Files(desk.broker, "production", access, table=("sales", "orders"))


def file_io(desk: Desk, access: Access = Access.READ_WRITE, **properties: object) -> BrokerFsspecFileIO:
    return BrokerFsspecFileIO({PROPERTY: files(desk, access), **properties})


def test_each_signing_takes_the_keys_that_are_current_then(desk: Desk) -> None:
    credentials = BrokerCredentials(files(desk), file_location(f"{ORDERS}/data/x"))
    signed = [asyncio.run(credentials.get_frozen_credentials()).access_key]
    signed.append(asyncio.run(credentials.get_frozen_credentials()).access_key)
    desk.clock.advance(timedelta(hours=2).total_seconds())
    last = asyncio.run(credentials.get_frozen_credentials())
    assert [*signed, last.access_key] == ["VENDED1", "VENDED1", "VENDED2"]
    assert (last.secret_key, last.token) == (CANARY, f"{CANARY}-session")


def test_what_fsspec_is_configured_with_takes_the_place_of_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = {
        "key": "evil",
        "secret": "evil",
        "token": "evil",
        "anon": True,
        "endpoint_url": "http://evil.example",
        "s3_additional_kwargs": {"ACL": "public-read"},
        "requester_pays": True,
        "client_kwargs": {"endpoint_url": "http://evil.example"},
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", configured)
    made = file_io(desk).new_input(f"{ORDERS}/data/1.parquet")._fs
    assert not made.anon
    assert (made.key, made.secret, made.token, made.endpoint_url) == (None, None, None, None)
    assert (made.s3_additional_kwargs, made.req_kw) == ({}, {})
    assert "evil" not in repr(made.storage_options)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"profile": "evil"})
    with pytest.raises(ConfigurationError, match="profile"):
        file_io(desk).new_input(f"{ORDERS}/data/2.parquet")


def test_a_refresh_under_way_does_not_hold_up_the_event_loop(desk: Desk) -> None:
    credentials = BrokerCredentials(files(desk), file_location(f"{ORDERS}/data/x"))
    desk.tables.hold()

    async def sign_while_held() -> str:
        signing = asyncio.create_task(credentials.get_frozen_credentials())
        await asyncio.to_thread(desk.tables.wait_for_calls, 1)  # the loop turns while the issuer is being asked
        assert not signing.done()
        desk.tables.release()
        return str((await signing).access_key)

    assert asyncio.run(sign_while_held()) == "VENDED1"


def test_the_session_knows_no_other_identity(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile other]\naws_access_key_id = evil\naws_secret_access_key = evil\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "none-of-that-name")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "evil")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "evil")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://evil.example")
    monkeypatch.setenv("HTTP_PROXY", "http://evil.example")
    monkeypatch.setenv("AWS_CSM_ENABLED", "true")  # sends each request's session token by UDP

    async def client() -> tuple[str, Any]:
        session = session_for(files(desk), file_location(f"{ORDERS}/data/x"))
        assert session._get_internal_component("monitor") is None
        async with session.create_client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9") as made:
            return made.meta.endpoint_url, made._request_signer._credentials

    endpoint, credentials = asyncio.run(client())
    assert endpoint == "http://127.0.0.1:9"
    assert isinstance(credentials, BrokerCredentials)
    assert credentials.access_key == "asked-of-the-broker-at-each-signing"


def test_a_file_system_is_made_for_our_endpoint_and_for_this_file_io_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://evil.example")
    one, other = file_io(desk, **{"s3.connect-timeout": "5", "s3.request-timeout": "60"}), file_io(desk)
    made = one.new_input(f"{ORDERS}/data/1.parquet")._fs
    assert one.new_output(f"{ORDERS}/data/2.parquet")._fs is made
    assert other.new_input(f"{ORDERS}/data/1.parquet")._fs is not made
    assert made.client_kwargs == {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1", "verify": True}
    assert made.config_kwargs["proxies"] == {}
    assert made.config_kwargs["ignore_configured_endpoint_urls"] is True
    assert (made.config_kwargs["connect_timeout"], made.config_kwargs["read_timeout"]) == (5.0, 60.0)
    assert made.config_kwargs["s3"] == {"addressing_style": "path"}
    assert not made.anon


def test_a_replaced_key_keeps_the_file_system_and_another_thread_has_its_own(desk: Desk) -> None:
    io = file_io(desk)
    made = io.new_input(f"{ORDERS}/data/1.parquet")._fs
    desk.clock.advance(timedelta(hours=2).total_seconds())
    assert io.new_input(f"{ORDERS}/data/1.parquet")._fs is made
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(io.new_input(f"{ORDERS}/data/1.parquet")._fs))
    thread.start()
    thread.join()
    assert elsewhere[0] is not made


def test_the_network_section_reaches_it(desk: Desk) -> None:
    held = files(desk)
    held.network = NetworkSettings(ca_file="/ca.pem", allowed_hosts=("store.example",))
    with pytest.raises(ConfigurationError, match=r"'127\.0\.0\.1' is not in network\.allowed_hosts"):
        BrokerFsspecFileIO({PROPERTY: held}).new_input(f"{ORDERS}/data/1.parquet")
    held.network = NetworkSettings(ca_file="/ca.pem")
    made = BrokerFsspecFileIO({PROPERTY: held}).new_input(f"{ORDERS}/data/1.parquet")._fs
    assert made.client_kwargs["verify"] == "/ca.pem"


def test_to_write_or_delete_needs_access_to_write(desk: Desk) -> None:
    io = file_io(desk, Access.READ)
    for change in (io.new_output, io.delete):
        with pytest.raises(AccessDenied, match="access='read_write' to write"):
            change(f"{ORDERS}/data/1.parquet")


def test_what_nothing_serves_is_refused(desk: Desk) -> None:
    with pytest.raises(AccessDenied, match="lies outside"):
        file_io(desk).new_input("s3://lake/wh/sales/orders2/x")
    for location in ("file:///etc/passwd", "/etc/passwd", "hf://x/y", f"{ORDERS}/../../x"):
        with pytest.raises(ConfigurationError, match="refused"):
            file_io(desk).new_input(location)


def test_the_stock_file_systems_cannot_be_had(desk: Desk) -> None:
    for scheme in ("s3", "file", "gs", "abfss", "hf"):
        with pytest.raises(ConfigurationError, match="no file system"):
            file_io(desk).get_fs(scheme)
    with pytest.raises(ConfigurationError, match="made by a catalog"):
        BrokerFsspecFileIO({"s3.access-key-id": "x"})


def test_a_file_io_pickles_as_a_reference(desk: Desk) -> None:
    io = file_io(desk)
    io.new_input(f"{ORDERS}/data/1.parquet")
    carried = pickle.dumps(io)
    assert CANARY.encode() not in carried
    assert pickle.loads(carried).new_input(f"{ORDERS}/data/1.parquet").location == f"{ORDERS}/data/1.parquet"
    assert desk.tables.calls == 1


def test_a_catalog_has_it_by_one_word(desk: Desk, server: CatalogServer) -> None:
    server.table("orders", metadata())
    made = load_catalog(desk.broker, "production", io="fsspec")
    assert isinstance(made.load_table("sales.orders").io, BrokerFsspecFileIO)
