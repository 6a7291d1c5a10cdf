"""Azurite's blob service on loopback, for as long as a block lasts: Microsoft's emulator, which enforces SAS by itself.

It runs on ``node``, keeps everything in memory, speaks TLS with a certificate of its own, and its telemetry is off. With
``--oauth basic`` it checks a bearer token's issuer, audience and times but not its signature, so ``bearer`` makes one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from joserfc import jwt
from joserfc.jwk import OctKey

from tests.servers.certificates import server_context

ACCOUNT = "devstoreaccount1"
OBJECT_ID = "11059fcc-5514-4800-b5f8-49808b9cfab6"
TENANT_ID = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
INSTALL = "run .ci/servers"

# Read when this file is imported: a test's environment has none of our variables.
_SERVERS = Path(os.environ.get("CREDBROKER_TEST_SERVERS") or Path(__file__).resolve().parents[2] / ".servers")
_PROGRAM = _SERVERS / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
_LISTENS = "successfully listens on "
_PATIENCE = 60.0


def installed() -> bool:
    """Whether ``node`` and Azurite are there to be run."""
    return shutil.which("node") is not None and _PROGRAM.is_file()


class Azurite:
    """A context manager: the server runs inside the block."""

    def __init__(self) -> None:
        self.url = ""
        """The account's own URL, without a slash at its end."""
        self._folder = Path()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._listens = threading.Event()
        self._said: list[str] = []

    @property
    def authority(self) -> str:
        """The file of the certificate that a client must trust."""
        return str(self._folder / "ca.pem")

    def bearer(self, *, lifetime: timedelta = timedelta(hours=1)) -> str:
        """An access token of Entra ID's shape for the blob service."""
        now = datetime.now(UTC)
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{TENANT_ID}/",
            "oid": OBJECT_ID,
            "tid": TENANT_ID,
            "iat": int(now.timestamp()) - 60,
            "nbf": int(now.timestamp()) - 60,
            "exp": int((now + lifetime).timestamp()),
        }
        return jwt.encode({"alg": "HS256"}, claims, OctKey.generate_key(256))

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="credbroker-azurite-"))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _start(self) -> None:
        server_context(self._folder)
        process = subprocess.Popen(
            [
                *(shutil.which("node") or "node", str(_PROGRAM), "--silent", "--blobHost", "127.0.0.1", "--blobPort", "0"),
                *("--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--oauth", "basic"),
                *("--cert", str(self._folder / "ca.pem"), "--key", str(self._folder / "key.pem")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env={"PATH": os.defpath, "HOME": str(self._folder)},
            start_new_session=True,
        )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        if not self._listens.wait(_PATIENCE) or not self.url:
            raise RuntimeError("Azurite did not start: " + " | ".join(self._said))

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take all that it prints, so that its pipe never fills; the port is free to choose, so it is read here."""
        assert process.stdout is not None
        for line in process.stdout:
            self._said.append(line.strip())
            if _LISTENS in line:
                self.url = line.partition(_LISTENS)[2].strip() + f"/{ACCOUNT}"
                self._listens.set()
        self._listens.set()  # it ended: nothing more to wait for

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._reader is not None:
                self._reader.join(10)
            if self._process.stdout is not None:
                self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)
