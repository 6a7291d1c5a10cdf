"""PostgreSQL on loopback, for as long as a block lasts: the programs that ``pgserver`` (on the package index) brings.

It refuses to run as root, so root runs it as ``nobody``, from a copy that this user may read.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from credbroker.cli.demo.ports import reserved_ports

INSTALL = "pip install pgserver (which has no programs for Python 3.13 and later)"
DATABASE = "postgres"
_OWNER = "owner"
_PATIENCE = 60.0
_STARTS = 4


def installed() -> bool:
    """Whether its programs are there to be run."""
    return find_spec("pgserver") is not None


class Postgres:
    """A context manager: the server runs inside the block, and asks every login for its password."""

    def __init__(self) -> None:
        self.port = 0
        self.user = _OWNER
        self.password = secrets.token_urlsafe(24)
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, user: str | None = None, password: str | None = None) -> psycopg.Connection:
        """A connection, by default the owner's. Raises ``psycopg.OperationalError`` where the login is refused."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=DATABASE,
            user=user or self.user,
            password=password or self.password,
            connect_timeout=10,
        )

    def admits(self, user: str, password: str) -> bool:
        """Whether that login works. Raises where the server refuses it for another reason than the login."""
        try:
            with self.connect(user, password) as connection:
                return connection.execute("SELECT current_user").fetchone() == (user,)
        except psycopg.errors.UndefinedObject:
            return False  # it was dropped between the login and the question
        except psycopg.OperationalError as error:
            # The second is said of a role that is dropped while its password is being looked at.
            if "password authentication failed" in str(error) or f'role "{user}" does not exist' in str(error):
                return False
            raise

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="credbroker-postgres-"))
        try:
            programs = self._programs()
            self._initialise(programs)
            self._start(programs)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _programs(self) -> Path:
        package = find_spec("pgserver")  # not imported: that would look for a place to run a server of its own
        if package is None or package.origin is None:
            raise RuntimeError("pgserver is not installed: pip install pgserver")
        installed = Path(package.origin).parent
        if os.geteuid() != 0:
            return installed / "pginstall" / "bin"
        copy = self._folder / "programs"
        # Their libraries lie beside the package, and the programs look for them there.
        for name in ("pgserver/pginstall", "pgserver.libs"):
            shutil.copytree(installed.parent / name, copy / name, ignore=shutil.ignore_patterns("include"))
        shutil.chown(self._folder, "nobody")
        return copy / "pgserver" / "pginstall" / "bin"

    @property
    def _user(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self._folder)}

    def _initialise(self, programs: Path) -> None:
        password = self._folder / "password"
        password.write_text(self.password)
        if self._user is not None:
            shutil.chown(password, self._user)
        password.chmod(0o400)
        subprocess.run(
            [
                *(str(programs / "initdb"), "--pgdata", str(self._folder / "data"), "--username", _OWNER),
                *("--auth=scram-sha-256", "--pwfile", str(password), "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            user=self._user,
            env=self._environment,
        )

    def _start(self, programs: Path) -> None:
        # Somebody may take the port between our drawing it and the server's binding it.
        if not any(self._started(programs) for _ in range(_STARTS)):
            raise RuntimeError("PostgreSQL did not start: " + (self._folder / "log").read_text(errors="replace"))

    def _started(self, programs: Path) -> bool:
        with reserved_ports(1) as (self.port,):
            pass
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(self._folder / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._user,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)  # noqa: TID251 - it says nothing to wait for before it listens
            else:
                return True
        return False

    def _stop(self) -> None:
        if self._process is not None:
            # Fast shutdown (SIGINT): it ends the sessions that are still open, where SIGTERM would wait for them.
            self._process.send_signal(2)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
