"""Catalogs that take signatures: which keys each request is signed with, and what a refusal of them leads to."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from tests.servers.certificates import server_context
from tests.servers.hostile import HostileServer, answer, saying
from tests.servers.loopback import LoopbackServer
from tests.unit.integrations.pyiceberg.conftest import CANARY, ROLE, SCHEMA, CatalogServer, metadata
from tests.unit.integrations.pyiceberg.test_sql import FolderAsStore

from credbroker import AccessToken, Broker, S3Credentials
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.integrations.botocore import BrokerKeys
from credbroker.integrations.pyiceberg import BrokerGlueCatalog, BrokerRestCatalog, load_catalog
from credbroker.integrations.pyiceberg.glue import client
from credbroker.integrations.pyiceberg.transport import session
from credbroker.providers._signed_catalog import Signing
from credbroker.request import CredentialRequest
from credbroker.testing import ControlledProvider, ManualClock

if TYPE_CHECKING:
    import requests

BUCKET = "arn:aws:s3tables:eu-west-1:123456789012:bucket/acme"
SIGNING = Signing("s3tables", "eu-west-1")
PREFIX = "arn%3Aaws%3As3tables%3Aeu-west-1%3A123456789012%3Abucket%2Facme"


def keys(number: int, request: CredentialRequest, context: Context) -> Credential:
    return S3Credentials(
        f"ASIA{number}",
        SecretStr(f"{CANARY}-secret"),
        SecretStr(f"{CANARY}-{number}"),
        region="eu-west-1",
        expires_at=context.clock.now() + timedelta(hours=1),
        access=request.access,
    )


class Desk:
    """A broker whose role is answered by hand."""

    def __init__(self, uri: str, **glue: Any) -> None:
        role = {"mode": "iam_role", "role_arn": ROLE, "credential_source": "environment"}
        catalog = {"region": "eu-west-1", "uri": uri, "credentials": role}
        properties = {"rest.sigv4-enabled": True, "rest.signing-name": "glue", "header.X-Team": "data"}
        config = {
            "environment": "local",
            "catalogs": {
                "tables": {**catalog, "type": "s3tables", "warehouse": BUCKET},
                "rest": {**catalog, "warehouse": "123456789012", "properties": properties},
                "glue": {**catalog, "type": "glue", **glue},
                "away": {"type": "s3tables", "region": "eu-west-1", "warehouse": BUCKET, "credentials": role},
            },
        }
        self.clock = ManualClock()
        self.role = ControlledProvider(answer=keys)
        self.broker = Broker.from_config(config, providers={"iam_role": self.role}, context=Context(clock=self.clock))


@pytest.fixture
def desk(server: CatalogServer) -> Iterator[Desk]:
    made = Desk(server.url)
    with made.broker:
        yield made


@pytest.fixture
def signed(desk: Desk, server: CatalogServer) -> requests.Session:
    return session(server.url, desk.broker.catalog("tables"), "tables", desk.broker.network, SIGNING)


def keys_of(server: CatalogServer) -> list[str]:
    return re.findall(r"Credential=([A-Z0-9]+)/", " ".join(request.token or "" for request in server.asked))


def test_each_request_is_signed_with_the_keys_that_are_current_then(
    desk: Desk, server: CatalogServer, signed: requests.Session
) -> None:
    url = f"{server.url}/v1/config"
    signed.get(url, headers={"Authorization": "Bearer of-somebody-else", "X-Amz-Security-Token": "another"})
    desk.clock.advance(7200)
    answered = signed.post(url, json={"a": 1})
    assert keys_of(server) == ["ASIA1", "ASIA2"]
    assert [asked.headers["x-amz-security-token"] for asked in server.asked] == [f"{CANARY}-1", f"{CANARY}-2"]
    assert "/eu-west-1/s3tables/aws4_request" in (server.asked[0].token or "")
    # What is kept of the request, by the response and by every error made of it, has no signature and no token.
    assert "Authorization" not in answered.request.headers
    assert CANARY not in str(answered.request.headers)


@pytest.mark.parametrize("query", ["a=b c", "a=b%20c", "a=b+c"])
def test_a_query_is_sent_as_it_is_signed(server: CatalogServer, signed: requests.Session, query: str) -> None:
    signed.get(f"{server.url}/v1/config?{query}&empty=&warehouse={BUCKET}")
    escaped = BUCKET.replace(":", "%3A").replace("/", "%2F")
    assert server.asked[0].path == f"/v1/config?a=b%20c&empty=&warehouse={escaped}"


@pytest.mark.parametrize(
    "kind", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch"]
)
@pytest.mark.parametrize("in_header", [True, False])
def test_keys_that_are_refused_are_replaced_and_the_request_sent_once_more(
    desk: Desk, server: CatalogServer, signed: requests.Session, kind: str, in_header: bool
) -> None:
    refusal = {"error": {"type": "ForbiddenException" if in_header else kind, "code": 403, "message": "no"}}
    server.routes["/v1/x"] = (403, refusal, {"x-amzn-ErrorType": f"{kind}:http://internal"} if in_header else {})
    assert signed.post(f"{server.url}/v1/x", data=b"body").status_code == 403
    assert keys_of(server) == ["ASIA1", "ASIA2"]
    assert [asked.body for asked in server.asked] == [b"body", b"body"]
    assert desk.role.calls == 2


@pytest.mark.parametrize("kind", ["AccessDeniedException", "ForbiddenException"])
def test_a_right_that_is_missing_is_the_callers_and_no_other_keys_are_tried(
    desk: Desk, server: CatalogServer, signed: requests.Session, kind: str
) -> None:
    server.routes["/v1/x"] = (403, {"error": {"type": kind}}, {})
    assert signed.get(f"{server.url}/v1/x").status_code == 403
    assert desk.role.calls == 1


def test_a_token_signs_nothing(desk: Desk, server: CatalogServer) -> None:
    desk.role._answer = lambda *_: AccessToken(SecretStr(CANARY))
    with pytest.raises(ConfigurationError, match="are AccessToken, not keys"):
        load_catalog(desk.broker, "tables")
    assert server.asked == []


# -- S3 Tables ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderAsStore:
    folder = tmp_path / "store"
    folder.mkdir()
    made = FolderAsStore(folder)
    monkeypatch.setattr("credbroker.integrations.pyiceberg.arrow.S3FileSystem", made)
    return made


ORDERS = "s3://63a8e430-6e0b-46f5--table-s3"
AT_ORDERS = f"/v1/{PREFIX}/namespaces/sales/tables/orders"


@pytest.mark.parametrize("access", ["read", "read_write"])
def test_a_table_bucket_is_opened_by_the_keys_that_ask_for_its_tables(
    desk: Desk, server: CatalogServer, store: FolderAsStore, access: Any
) -> None:
    server.config = {"defaults": {}, "overrides": {"prefix": PREFIX}}
    server.routes[AT_ORDERS] = (200, metadata(ORDERS), {})
    catalog = load_catalog(desk.broker, "tables", access=access)
    assert isinstance(catalog, BrokerRestCatalog)
    table = catalog.load_table("sales.orders")
    assert [asked.path.partition("?")[0] for asked in server.asked] == ["/v1/config", AT_ORDERS]
    assert "x-iceberg-access-delegation" not in server.asked[1].headers
    table.io._file_system(f"{ORDERS}/data/x")  # type: ignore[attr-defined]
    (made,) = store.made
    assert (made["access_key"], made["endpoint_override"]) == ("ASIA1", "https://s3.eu-west-1.amazonaws.com")
    assert [request.access for request in desk.role.requests] == [access]
    assert CANARY.encode() not in pickle.dumps(table)
    desk.clock.advance(7200)
    table.io._file_system(f"{ORDERS}/data/y")  # type: ignore[attr-defined]
    assert store.made[-1]["access_key"] == "ASIA2"
    if access == "read":
        with pytest.raises(AccessDenied, match="access='read_write' to write"):
            table.io.new_output(f"{ORDERS}/data/x")


def test_without_a_uri_the_table_bucket_is_at_awss_own(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokerRestCatalog, "_fetch_config", lambda self: None)
    assert load_catalog(desk.broker, "away").uri == "https://s3tables.eu-west-1.amazonaws.com/iceberg"


def test_what_signs_is_the_profiles_to_say_and_is_no_property_that_was_not_used(
    desk: Desk, server: CatalogServer, caplog: pytest.LogCaptureFixture
) -> None:
    load_catalog(desk.broker, "rest")
    assert "not used" not in caplog.text
    assert "/eu-west-1/glue/aws4_request" in (server.asked[0].token or "")
    assert server.asked[0].headers["x-team"] == "data"
    for key in ("rest.signing-name", "rest.sigv4-enabled", "glue.databases", "s3tables.region", "client.region"):
        with pytest.raises(ConfigurationError, match=key):
            load_catalog(desk.broker, "rest", **{key: "s3"})


# -- Glue --------------------------------------------------------------------------------------------------------------


class Glue(LoopbackServer):
    """Answers every call with ``answers``, in order, then with an empty list."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.keys: list[str] = []
        self.bodies: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        owner: Glue = self.server.owner  # type: ignore[attr-defined]
        owner.keys.append(re.findall(r"Credential=([A-Z0-9]+)/", self.headers["authorization"])[0])
        owner.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        status, body = owner.answers.pop(0) if owner.answers else (200, {"DatabaseList": []})
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""


@pytest.fixture
def glue() -> Iterator[Glue]:
    with Glue() as server:
        yield server


EXPIRED = (400, {"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"})


def test_glue_is_asked_once_more_where_the_keys_are_refused_and_others_are_to_be_had(glue: Glue) -> None:
    desk = Desk(glue.uri)
    with desk.broker:
        glue.answers = [EXPIRED]
        assert load_catalog(desk.broker, "glue").list_namespaces() == []
        assert glue.keys == ["ASIA1", "ASIA2"]
        glue.answers = [EXPIRED, EXPIRED]
        with pytest.raises(Exception, match="ExpiredToken"):
            load_catalog(desk.broker, "glue").list_namespaces()
        assert glue.keys[2:] == ["ASIA2"]  # a refusal a moment ago: no issue is caused by this one


def test_glue_is_told_the_catalog_and_what_the_profile_tunes(glue: Glue) -> None:
    desk = Desk(glue.uri, properties={"glue.id": "210987654321", "glue.skip-archive": "false"})
    with desk.broker:
        catalog = load_catalog(desk.broker, "glue")
        assert isinstance(catalog, BrokerGlueCatalog)
        assert catalog.properties["glue.skip-archive"] == "false"
        catalog.list_namespaces()
        restored = pickle.loads(pickle.dumps(catalog))
        restored.list_namespaces()
        assert glue.bodies == [{"CatalogId": "210987654321"}] * 2
        assert CANARY.encode() not in pickle.dumps(catalog)


def test_a_glue_table_is_not_made_without_a_storage_profile(glue: Glue) -> None:
    desk = Desk(glue.uri)
    with desk.broker:
        catalog = load_catalog(desk.broker, "glue", access="read_write")
        glue.answers = [(200, {"Database": {"Name": "sales"}})] * 2
        with pytest.raises(AccessDenied, match="no storage profile of the catalog contains"):
            catalog.create_table("sales.orders", SCHEMA, location="s3://lake/orders")


def test_a_host_that_is_not_allowed_is_not_asked(desk: Desk) -> None:
    from credbroker.config.settings import NetworkSettings

    network = NetworkSettings(allowed_hosts=("*.amazonaws.com",))
    with pytest.raises(ConfigurationError, match=r"'glue\.example' is not in network\.allowed_hosts"):
        client(
            BrokerKeys(desk.broker.catalog("glue")),
            region="eu-west-1",
            endpoint="https://glue.example/",
            network=network,
        )


def test_the_keys_of_a_session_are_in_no_key_log(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``SSLKEYLOGFILE`` would give whoever can set it, and has the packets, the signed requests and their session tokens."""
    from credbroker.config.settings import NetworkSettings

    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with HostileServer(saying(answer(b'{"DatabaseList": []}')), tls=server_context(tmp_path)) as server:
        made = {
            trusted: client(
                BrokerKeys(desk.broker.catalog("glue")),
                region="eu-west-1",
                endpoint=server.url,
                network=NetworkSettings(ca_file=str(tmp_path / "ca.pem") if trusted else None),
            )
            for trusted in (True, False)
        }
        assert made[True].get_databases()["DatabaseList"] == []
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            made[False].get_databases()
    assert not log.exists() or "CLIENT_" not in log.read_text()
    through = made[True]._endpoint.http_session._get_proxy_manager("http://127.0.0.1:1")
    assert through.connection_pool_kw["ssl_context"].keylog_filename is None
