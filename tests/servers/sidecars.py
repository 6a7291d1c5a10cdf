"""A sidecar in this process, on loopback, whose issuer is moved by hand; and requests to it, byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from credbroker import Broker
from credbroker.context import Context
from credbroker.credentials import AccessToken, Credential, GCSCredentials, S3Credentials
from credbroker.request import CredentialRequest
from credbroker.testing import ControlledProvider

if TYPE_CHECKING:
    from credbroker.sidecar.running import Sidecar

LAKE = {
    "region": "eu-west-1",
    "locations": ["s3://lake/sales/"],
    "credentials": {
        "mode": "iam_role",
        "role_arn": "arn:aws:iam::123456789012:role/Pipe",
        "credential_source": "environment",
    },
}
POLARIS = {
    "uri": "https://polaris.internal/api/catalog",
    "credentials": {
        "mode": "oauth2",
        "client_id": "svc",
        "client_secret": {"secret_ref": "polaris-oauth"},
        "scope": "PRINCIPAL_ROLE:READER",
    },
}
SECRET = "wJalr-canary-secret+/="  # of every key pair that is issued here
TOKEN = "canary.session.token"


def keys(number: int, request: CredentialRequest, context: Context, *, life: timedelta = timedelta(hours=1)) -> Credential:
    """The ``number``-th credential, of the kind that was asked for."""
    ends = context.clock.now() + life
    if request.kind in ("catalog", "compute"):
        return AccessToken(SecretStr(f"{TOKEN}-{number}"), scopes=request.scopes, expires_at=ends)
    if request.locations and request.locations[0].scheme == "gs":
        return GCSCredentials(SecretStr(f"{TOKEN}-{number}"), expires_at=ends, locations=request.locations)
    return S3Credentials(
        f"ASIA{number:016}",
        SecretStr(SECRET),
        SecretStr(f"{TOKEN}-{number}"),
        region="eu-west-1",
        expires_at=ends,
        locations=request.locations,
        access=request.access,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Served:
    """A running sidecar and its issuer."""

    sidecar: Sidecar
    provider: ControlledProvider

    @property
    def port(self) -> int:
        return int(self.sidecar.authority.rpartition(":")[2])

    def token(self, name: str) -> str:
        return Path(self.sidecar.directory, f"{name}.token").read_text()

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(name)}"}

    def connect(self, *, unix: bool = False) -> socket.socket:
        if unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            sock.connect(str(self.sidecar.socket_path))
            return sock
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, raw: bytes, *, unix: bool = False) -> Reply | None:
        """What is answered to these very bytes; None where the connection is closed without an answer."""
        with self.connect(unix=unix) as sock:
            sock.sendall(raw)
            return reply_of(sock)

    def get(self, path: str, headers: Mapping[str, str] | None = None, *, unix: bool = False) -> Reply:
        reply = self.send(request_bytes("GET", path, {"Host": f"127.0.0.1:{self.port}", **(headers or {})}), unix=unix)
        assert reply is not None
        return reply

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        given = {
            "Host": f"127.0.0.1:{self.port}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        reply = self.send(request_bytes("POST", path, given) + body)
        assert reply is not None
        return reply


def request_bytes(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def reply_of(sock: socket.socket) -> Reply | None:
    """One answer, read by its Content-Length."""
    with sock.makefile("rb") as stream:
        try:
            first = stream.readline()
            if not first:
                return None
            headers: dict[str, str] = {}
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers["content-length"])) if "content-length" in headers else stream.read()
        except ConnectionResetError:
            return None
    return Reply(int(first.split()[1]), headers, body)


@contextlib.contextmanager
def serving(
    sidecar: Mapping[str, Any],
    *,
    provider: ControlledProvider | None = None,
    ready: bool = True,
    **config: Any,
) -> Iterator[Served]:
    """Serve ``sidecar``'s bindings of the profiles ``storage.lake`` and ``catalogs.polaris``, or those in ``config``."""
    from credbroker.sidecar.running import Sidecar

    issuer = provider or ControlledProvider(answer=keys)
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="credbroker-test-") as folder:
        platform: dict[str, Any] = {
            "environment": "test",
            "storage": {"lake": LAKE},
            "catalogs": {"polaris": POLARIS},
            **config,
            "sidecar": {"directory": f"{folder}/run", "listen": "127.0.0.1:0", **sidecar},
        }
        modes = ("iam_role", "oauth2", "service_account", "static", "catalog")
        with Broker.from_config(platform, providers=dict.fromkeys(modes, issuer)) as broker:
            assert broker.sidecar is not None
            running = Sidecar(broker, broker.sidecar)
            running.start()
            try:
                if ready:
                    running.wait_until_ready(10)
                yield Served(running, issuer)
            finally:
                running.close()


READ_LAKE = {"bindings": {"lake-read": {"storage": "lake", "access": "read", "protocols": ["aws-container"]}}}
