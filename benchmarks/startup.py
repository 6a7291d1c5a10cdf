"""Section ``import``: how much longer an interpreter takes that imports, and what it has loaded then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median

_OURS = "from credbroker import Broker"
_PEERS = {
    "boto3": "import boto3",
    "google.auth": "import google.oauth2.credentials",
    "azure.identity": "import azure.identity",
    "authlib": "from authlib.integrations.requests_client import OAuth2Session",
    "databricks.sdk": "import databricks.sdk.oauth",
}
HEAVY = (
    "aiobotocore", "authlib", "azure", "boto3", "botocore", "cryptography", "google", "joserfc", "msal", "pyarrow",
    "pydantic", "pydantic_core", "pyiceberg", "requests", "s3fs", "urllib3", "yaml",
)  # fmt: skip


def run(installed: Sequence[str], effort: Effort) -> Table:
    """``installed``: the modules of the peers that are there."""
    heavy = _loaded(_OURS)
    figures = {"ms": _cost(_OURS, effort.pairs), "heavy modules": len(heavy)}
    targets = (Target("ms", "≤", 60), Target("heavy modules", "=", 0))
    rows = [Row(_OURS, figures, targets, tuple(heavy))]
    rows += [Row(code, {"ms": _cost(code, 3)}) for module, code in _PEERS.items() if module in installed]
    return Table("import", rows)


def _cost(code: str, pairs: int) -> float:
    """Milliseconds over a bare interpreter: the median of the differences, pair by pair, after one run to warm the files."""
    _run(code)
    differences = []
    for _ in range(pairs):
        bare = _run("pass")
        differences.append((_run(code) - bare) * 1e3)
    return median(differences)


def _run(code: str) -> float:
    # Where nothing may be kept compiled, each start would compile us anew: that is another figure.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)  # noqa: S603 - our own code
    return time.perf_counter() - began


def _loaded(code: str) -> list[str]:
    told = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return sorted({name.partition(".")[0] for name in told.stdout.split()} & set(HEAVY))
