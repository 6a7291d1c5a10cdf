"""A broker whose issuers are answered by hand, and an Iceberg REST catalog that says whatever a test wants it to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.types import LongType, NestedField

from credbroker import AccessToken, Broker, S3Credentials, TableCredentials
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.location import Location
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.testing import ControlledProvider, ManualClock

CANARY = "canary-7f31"
ROLE = "arn:aws:iam::123456789012:role/Pipe"
SCHEMA = Schema(NestedField(1, "id", LongType(), required=False))


def metadata(location: str = "s3://lake/wh/sales/orders", **properties: str) -> dict[str, Any]:
    """A LoadTableResult for a table at ``location``."""
    made = new_table_metadata(
        schema=SCHEMA,
        partition_spec=UNPARTITIONED_PARTITION_SPEC,
        sort_order=UNSORTED_SORT_ORDER,
        location=location,
        properties=properties,
    )
    return {
        "metadata-location": f"{location}/metadata/00000-a.metadata.json",
        "metadata": json.loads(made.model_dump_json()),
    }


@dataclass
class Asked:
    """A request as the catalog saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class CatalogServer:
    """Answers ``/v1/config`` with ``config``, a token at ``/v1/oauth/tokens``, and else with what ``routes`` has.

    ``refused`` maps an Authorization header to the status that it gets.
    """

    url: str = ""
    config: dict[str, Any] = field(default_factory=lambda: {"defaults": {}, "overrides": {}})
    routes: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def table(self, name: str, reply: dict[str, Any]) -> None:
        self.routes[f"/v1/namespaces/sales/tables/{name}"] = (200, reply, {})

    def answer(self, request: Asked) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.asked.append(request)
        path = urlsplit(request.path).path
        if path == "/v1/oauth/tokens":
            return 200, {"access_token": f"{CANARY}-token", "token_type": "bearer", "expires_in": 3600}, {}
        if request.token in self.refused:
            return (
                self.refused[request.token],
                {"error": {"message": "no", "type": "NotAuthorizedException", "code": 401}},
                {},
            )
        if path == "/v1/config":
            return 200, self.config, {}
        return self.routes.get(path, (404, {"error": {"message": "none", "type": "NoSuchTableException", "code": 404}}, {}))


@pytest.fixture
def server() -> Iterator[CatalogServer]:
    catalog = CatalogServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, reply, extra = catalog.answer(Asked(self.command, self.path, headers, body))
            payload = b"" if self.command == "HEAD" else json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": str(len(payload)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_HEAD = do_DELETE = _do  # noqa: N815 - their names are the protocol's

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is nothing to print a traceback for."""

    with Server(("127.0.0.1", 0), Handler) as running:
        catalog.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield catalog
        running.shutdown()
        thread.join()


class Secrets:
    """Knows one secret."""

    def __init__(self, **known: str) -> None:
        self.known = known

    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(self.known[reference.secret_ref])


@dataclass
class Desk:
    """A broker, its clock, and what its issuers were asked."""

    broker: Broker
    clock: ManualClock
    tokens: ControlledProvider
    storage: ControlledProvider
    tables: ControlledProvider
    vends: dict[str, str]
    """Of the next table credentials: prefix to access key id."""


def configuration(uri: str, database: Path) -> dict[str, Any]:
    credentials = {"mode": "oauth2", "client_id": "pipeline", "client_secret": {"secret_ref": "pipeline-secret"}}
    return {
        "environment": "local",
        "catalogs": {
            "production": {
                "uri": uri,
                "warehouse": "lake",
                "storage": "lake",
                "credentials": credentials,
                "properties": {"rest-page-size": 50, "s3.endpoint": "http://evil.example", "header.X-Team": "data"},
            },
            "hidden": {"uri": {"secret_ref": "catalog-uri"}, "credentials": credentials},
            "ledger": {"type": "sql", "uri": f"sqlite:///{database}", "warehouse": "s3://lake/wh", "storage": "lake"},
            "vault": {"type": "sql", "uri": {"secret_ref": "database-uri"}, "storage": "lake"},
        },
        "storage": {
            "lake": {
                "endpoint": "http://127.0.0.1:9",
                "region": "us-east-1",
                "locations": ["s3://lake/wh/"],
                "access": "read_write",
                "credentials": {"mode": "iam_role", "role_arn": ROLE},
            },
        },
    }


@pytest.fixture
def desk(server: CatalogServer, tmp_path: Path) -> Iterator[Desk]:
    vends = {"s3://lake/wh/sales/orders/": "VENDED"}

    def token(number: int, request: CredentialRequest, context: Context) -> Credential:
        return AccessToken(SecretStr(f"{CANARY}-{number}"), expires_at=context.clock.now() + timedelta(hours=1))

    def keys(number: int, request: CredentialRequest, context: Context) -> Credential:
        return _keys(f"STORED{number}", context, request.locations)

    def table(number: int, request: CredentialRequest, context: Context) -> Credential:
        each = ((Location.parse(prefix), _keys(f"{key}{number}", context, None)) for prefix, key in vends.items())
        return TableCredentials(tuple(each))

    clock = ManualClock()
    tokens, storage, tables = (ControlledProvider(answer=answer) for answer in (token, keys, table))
    secrets = Secrets(**{"catalog-uri": server.url, "database-uri": f"sqlite:///{tmp_path}/{CANARY}.db"})
    broker = Broker.from_config(
        configuration(server.url, tmp_path / "ledger.db"),
        providers={"oauth2": tokens, "iam_role": storage, "catalog": tables},
        context=Context(clock=clock, secrets=secrets),
    )
    with broker:
        yield Desk(broker, clock, tokens, storage, tables, vends)


def _keys(key_id: str, context: Context, locations: tuple[Location, ...] | None) -> S3Credentials:
    return S3Credentials(
        key_id,
        SecretStr(CANARY),
        SecretStr(f"{CANARY}-session"),
        region="us-east-1",
        endpoint="http://127.0.0.1:9",
        expires_at=context.clock.now() + timedelta(hours=1),
        locations=locations,
    )
