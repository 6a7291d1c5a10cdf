"""The sidecar with one AWS profile, by its command: a role assumed at the STS of a SeaweedFS on this machine."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.served import Served, answer, serving
from credbroker.cli.demo.ports import reserved_ports
from credbroker.cli.demo.seaweed import SeaweedFS

_BINDING = "lake-read"
_UNLIMITED = 100_000
"""Requests a second: in the closed loop it is not the limit that is to be measured."""
IN_MEMORY = "/dev/shm"  # noqa: S108 - the sidecar's files belong on a file system that is in memory


def installed() -> bool:
    """Whether there is what serves it, and the STS that it asks. What is read of processes here is Linux's."""
    if sys.platform != "linux":
        return False
    beside = Path(sys.executable).with_name("weed")
    served = all(find_spec(module) is not None for module in ("prometheus_client", "uvicorn"))
    return served and (beside.is_file() or shutil.which("weed") is not None)


@contextmanager
def start(server: SeaweedFS) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="credbroker-bench-", dir=IN_MEMORY) as name:
        directory = Path(name) / "sidecar"
        with reserved_ports(1) as (port,):
            pass
        file = Path(name) / "platform.yaml"
        file.write_text(json.dumps(_platform(server, directory, port)))  # JSON is YAML
        token = directory / f"{_BINDING}.token"

        def request() -> bytes | None:
            try:
                presented = token.read_text()
            except FileNotFoundError:
                return None
            head = (
                f"GET /{_BINDING}/aws-container HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: {presented}",
                "Accept: application/json",
            )  # fmt: skip
            return "\r\n".join(head).encode() + b"\r\n\r\n" if presented else None

        command = [str(Path(sys.executable).with_name("credbroker")), "sidecar", "--config", str(file)]
        identity = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key, "HOME": name}
        with serving("credbroker sidecar", command, port, request, identity) as served:
            status = (directory / "status.token").read_text()
            asked = f"GET /status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {status}\r\n\r\n"
            yield replace(served, status=asked.encode())


def issues(served: Served) -> int:
    """How many values have been issued for its binding, by its own count."""
    told = answer(served.port, served.status)
    return int(json.loads(told)["bindings"][0]["issues"]) if told is not None else 0


def _platform(server: SeaweedFS, directory: Path, port: int) -> dict[str, object]:
    credentials = {
        "mode": "iam_role",
        "role_arn": server.role_arn,
        "sts_endpoint": server.sts_endpoint,
        "credential_source": "environment",
    }
    lake = {"endpoint": server.s3_endpoint, "locations": ["s3://lake/sales/"], "credentials": credentials}
    binding = {"storage": "lake", "protocols": ["aws-container"]}
    sidecar = {
        "directory": str(directory),
        "listen": f"127.0.0.1:{port}",
        "requests_per_second": _UNLIMITED,
        "bindings": {_BINDING: binding},
    }
    return {"version": 1, "environment": "development", "storage": {"lake": lake}, "sidecar": sidecar}
