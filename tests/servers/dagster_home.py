"""A folder of Dagster's own, commands and a code server that run on it, and what it keeps of them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._grpc.client import DagsterGrpcClient

from tests.servers.jobs import until

LOCATION = Path(__file__).with_name("dagster_lake.py")
# Runs start at once, with no daemon to take them from a queue. Records of the audit go to a run's event log.
_INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
python_logs: {managed_python_loggers: [credbroker.audit], python_log_level: INFO}
"""


class DagsterHome:
    """``DAGSTER_HOME`` below ``folder``; ``environment`` is what its processes see beside this one's."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder / "dagster-home"
        self.folder.mkdir()
        (self.folder / "dagster.yaml").write_text(_INSTANCE)
        self.environment = {**os.environ, **environment, "DAGSTER_HOME": str(self.folder), "PYTHONWARNINGS": "ignore"}

    def run(self, *arguments: str, python: str | Path = sys.executable) -> str:
        """What ``dagster ...`` prints. Raises ``AssertionError`` with it where it fails."""
        ended = subprocess.run(
            [str(python), "-m", "dagster", *arguments],
            env=self.environment,
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
        return ended.stdout + ended.stderr

    @contextmanager
    def code_server(self, socket: Path, location: Path = LOCATION) -> Iterator[DagsterGrpcClient]:
        """The server by which ``dagster dev`` and its daemon know a code location, launch its runs and reload it."""
        command = [sys.executable, "-m", "dagster", "code-server", "start", "-s", str(socket), "-f", str(location)]
        with (self.folder / "code-server.log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "--use-python-environment-entry-point"],
                env=self.environment,
                cwd=self.folder.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        client = DagsterGrpcClient(socket=str(socket))
        try:
            until(lambda: socket.exists() or server.poll() is not None, 100)
            yield client
        finally:
            server.terminate()
            server.wait(60)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.folder)) as instance:
            yield instance

    def last_run(self) -> dg.DagsterRun:
        with self.instance() as instance:
            return instance.get_runs(limit=1)[0]

    def materializations(self, run_id: str) -> dict[str, Mapping[str, dg.MetadataValue]]:
        """By the asset's key, the metadata of what a run made."""
        with self.instance() as instance:
            entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [entry.asset_materialization for entry in entries]
        return {one.asset_key.to_user_string(): one.metadata for one in made if one is not None}

    def audit(self, run_id: str) -> list[dict[str, object]]:
        """The records of the audit in a run's event log."""
        with self.instance() as instance:
            lines = [entry.user_message for entry in instance.all_logs(run_id) if entry.dagster_event is None]
        return [json.loads(line) for line in lines if line.startswith('{"time"')]

    def holding(self, secret: str) -> list[str]:
        """The files that hold it, of all that Dagster wrote: its databases, what processes printed."""
        return [path.name for path, held in written(self.folder) if secret.encode() in held]


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """What lies below a folder of Dagster's: each file, and each cell of each database, unpacked if it is packed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    for path in files:
        held = path.read_bytes()
        yield path, held
        if held.startswith(b"SQLite format 3"):
            for cell in cells(path):
                yield path, cell


def cells(database: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the names are the database's own
                for cell in row:
                    held = cell if isinstance(cell, bytes) else str(cell).encode()
                    with suppress(zlib.error):
                        held = zlib.decompress(held)
                    yield held
