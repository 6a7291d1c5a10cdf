"""Starts a store with sessions of a few seconds, and ``dagster dev`` on it, until Ctrl-C. All of it on 127.0.0.1."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from credbroker.cli.demo.seaweed import SeaweedFS

SESSION = timedelta(seconds=5)
"""How long keys of the store live."""

_HERE = Path(__file__).parent
_AMBIENT = ("AWS_", "CREDBROKER_", "DAGSTER_", "PYICEBERG_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """``dagster dev``, and where its page and its home are."""

    process: subprocess.Popen[bytes]
    page: str
    home: Path


def main() -> int:
    """Run until Ctrl-C or SIGTERM. The store, Dagster's home and all that was written are gone then."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SeaweedFS(session=SESSION) as store, dagster_dev(store) as running:
            life = f"the store's sessions last {SESSION.seconds} s"
            print(f"in half a minute: {running.page}  ({life}; Ctrl-C ends all)", flush=True)
            return running.process.wait()
    except KeyboardInterrupt:
        return 130


@contextmanager
def dagster_dev(store: SeaweedFS) -> Iterator[Running]:
    """``dagster dev`` on that store, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="dagster-lakehouse-", ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), _free_port()
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            [*command, "-m", "examples.dagster_lakehouse.definitions"],
            cwd=_HERE.parent.parent,
            env=_environment(home, store),
            start_new_session=True,  # Ctrl-C is for us: we end it in order
        )
        try:
            yield Running(process, f"http://127.0.0.1:{port}", home)
        finally:
            process.send_signal(signal.SIGINT)  # nothing, if it has ended
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(home: Path, store: SeaweedFS) -> dict[str, str]:
    """What Dagster's processes see: nobody's own keys and proxies, the files of this example, and the store's keys."""
    shutil.copy(_HERE / "dagster.yaml", home)
    addresses = {
        "catalogs": {"lakehouse": {"uri": store.catalog_uri}},
        "storage": {"reports": {"endpoint": store.s3_endpoint, "credentials": {"sts_endpoint": store.sts_endpoint}}},
    }
    (home / "addresses.yaml").write_text(yaml.safe_dump(addresses))
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(_AMBIENT) and name.lower() not in _PROXIES
    }
    return {
        **own,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "CREDBROKER_CONFIG": os.pathsep.join([str(_HERE / "platform.yaml"), str(home / "addresses.yaml")]),
        # In production: a secret backend, and a workload's own identity. See docs/secret-backends.md and docs/aws.md.
        "LAKEHOUSE_CLIENT_ID": store.access_key,
        "LAKEHOUSE_CLIENT_SECRET": store.secret_key,
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
