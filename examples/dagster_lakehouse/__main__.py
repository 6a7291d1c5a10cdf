"""Starts a store with sessions of a few seconds, and ``dagster dev`` on it, until Ctrl-C. All of it on 127.0.0.1."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import yaml

from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.cli.demo.watchdog import Watchdog
from credbroker.errors import CredbrokerError

SESSION = timedelta(seconds=5)
"""How long keys of the store live."""

_HERE = Path(__file__).parent
_MODULE = "examples.dagster_lakehouse.definitions"
_ASSETS = f"/locations/{_MODULE}/asset-groups/lakehouse"  # of the page: all of them at once, with "Materialize all"
# What Dagster's processes see of our own environment: no key, no proxy, and no secret of whatever else is at work here.
_OURS = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONPATH", "TERM", "TZ", "USER", "VIRTUAL_ENV")
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """``dagster dev``, and where its page and its home are."""

    process: subprocess.Popen[bytes]
    page: str
    home: Path


def main() -> int:
    """Run until Ctrl-C, SIGTERM or SIGHUP. The store, Dagster's home and all that was written are gone then."""
    argparse.ArgumentParser(prog="python -m examples.dagster_lakehouse", description=__doc__).parse_args()
    missing = [name for name in ("dagster", "dagster_webserver") if find_spec(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}: pip install '.[dagster,demo]' dagster-webserver", file=sys.stderr)
        return 2
    interrupt = _interrupting_twice()
    for end in _ENDS:
        if signal.getsignal(end) is not signal.SIG_IGN or end is signal.SIGINT:  # nohup's SIGHUP stays what it is
            signal.signal(end, interrupt)
    try:
        with SeaweedFS(session=SESSION) as store, dagster_dev(store) as running:
            life = f"the store's sessions last {SESSION.seconds} s"
            print(f"in half a minute: {running.page}{_ASSETS}  ({life}; Ctrl-C ends all)", flush=True)
            return running.process.wait()
    except KeyboardInterrupt:
        return 130
    except CredbrokerError as error:  # the store's program is not there, or does not start
        print(error, file=sys.stderr)
        return 2


@contextmanager
def dagster_dev(store: SeaweedFS) -> Iterator[Running]:
    """``dagster dev`` on that store, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="dagster-lakehouse-", ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), _free_port()
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            [*command, "-m", _MODULE],
            cwd=_HERE.parent.parent,
            env=_environment(home, store),
            start_new_session=True,  # Ctrl-C is for us: we end it in order
        )
        with ExitStack() as ending:
            ending.callback(_end, process)
            ending.callback(Watchdog(process.pid, [folder]).call_off)
            yield Running(process, f"http://127.0.0.1:{port}", home)


def _interrupting_twice() -> Callable[..., None]:
    """For the end, and for not waiting until Dagster has come to it. What follows takes a moment, and is not left undone."""
    left = iter(range(2))

    def interrupt(*_: object) -> None:
        if next(left, None) is not None:
            raise KeyboardInterrupt

    return interrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have Dagster end its runs and processes in order, and end what is left of them. A second Ctrl-C does not wait."""
    process.terminate()  # nothing, if it has ended; and unlike SIGINT no shell's "&" has it ignored
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
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
    return {
        **{name: os.environ[name] for name in _OURS if name in os.environ},
        "TMPDIR": str(home),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",  # by a command of a package of its own
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
