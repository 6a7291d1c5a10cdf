"""Section ``vending``: what it costs to say exactly what is granted, beside the issue that it is said to.

The issue is an AssumeRole at SeaweedFS on this machine, through the whole broker: as quick as there is, for nothing goes
over a network. Google's and Azure's own cannot be had here; what is said to them is measured beside the same call.
"""

from __future__ import annotations

import base64
import json
import os
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

from pydantic import SecretStr

from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median
from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.adls import sas_fields, sign
from credbroker.vending.gcs import access_boundary
from credbroker.vending.s3 import compact, session_policy

MOST = 5.0
"""Per cent of the issue that saying what is granted may cost."""
_BUILDS, _CALLS = 200, 20  # of one round
_ACCESS = Access.READ_WRITE
_TABLES = ("sales/orders", "sales/customers", "finance/ledger/2026", "hr/people")
_END = datetime(2026, 12, 1, tzinfo=UTC)
_KEY = DelegationKey(
    oid="11059fcc-5514-4800-b5f8-49808b9cfab6",
    tid="ab1f708d-50f6-404c-a006-d71b2ac7a606",
    start=_END - timedelta(days=1),
    expiry=_END,
    service="b",
    version="2025-11-05",
    value=SecretStr(base64.b64encode(bytes(32)).decode()),
)


def run(effort: Effort) -> Table:
    builders = {
        f"{what}, {number} location{'s' * (number > 1)}": _built(build, root, number)
        for what, (build, root) in _KINDS.items()
        for number in (1, len(_TABLES))
        if number == 1 or build is not _adls  # one SAS opens one directory: several are as many issues
    }
    microseconds: dict[str, list[float]] = {name: [] for name in builders}
    shares: dict[str, list[float]] = {name: [] for name in builders}
    issues: list[float] = []
    with _issuing() as issue:
        for _ in range(effort.rounds):  # all of them in each round: a machine that slows down slows them all
            took = median([issue() for _ in range(_CALLS)]) if issue is not None else None
            for name, build in builders.items():
                built = timeit.timeit(build, number=_BUILDS) / _BUILDS
                microseconds[name].append(built * 1e6)
                if took is not None:
                    shares[name].append(built / took * 100)
            if took is not None:
                issues.append(took * 1e3)
    rows = [Row(name, *_judged(microseconds[name], shares[name])) for name in builders]
    if issues:
        rows.append(Row("the issue: AssumeRole at SeaweedFS", {"µs": median(issues) * 1e3}))
    return Table("vending", rows)


def _judged(microseconds: list[float], shares: list[float]) -> tuple[dict[str, float], tuple[Target, ...]]:
    figures = {"µs": median(microseconds)}
    if not shares:
        return figures, ()
    return {**figures, "% of the issue": median(shares)}, (Target("% of the issue", "≤", MOST),)


# -- what is said ------------------------------------------------------------------------------------------------------


def _s3(locations: tuple[Location, ...]) -> None:
    compact(session_policy(locations, _ACCESS), locations)


def _gcs(locations: tuple[Location, ...]) -> None:
    json.dumps(access_boundary(locations, _ACCESS))


def _adls(locations: tuple[Location, ...]) -> None:
    sign(sas_fields(locations, _ACCESS), _KEY, _END)


_KINDS: Mapping[str, tuple[Callable[[tuple[Location, ...]], None], str]] = {
    "S3 session policy": (_s3, "s3://lake"),
    "GCS access boundary": (_gcs, "gs://lake"),
    "ADLS SAS, signed": (_adls, "abfss://lake@account1.dfs.core.windows.net"),
}


def _built(build: Callable[[tuple[Location, ...]], None], root: str, number: int) -> Callable[[], None]:
    locations = tuple(Location.parse(f"{root}/{table}") for table in _TABLES[:number])
    return lambda: build(locations)


# -- the issue ---------------------------------------------------------------------------------------------------------


@contextmanager
def _issuing() -> Iterator[Callable[[], float] | None]:
    """What one issue takes, in seconds; None where the server is not installed."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(SeaweedFS())
        except ConfigurationError:
            yield None
            return
        stack.enter_context(mock.patch.dict(os.environ, _identity(server)))
        broker = stack.enter_context(Broker.from_config(_platform(server)))
        source = broker.storage("lake", *(f"s3://lake/{table}" for table in _TABLES), access=_ACCESS)

        def issue() -> float:
            broker.purge("lake")
            began = time.perf_counter()
            source.get()
            return time.perf_counter() - began

        issue()
        yield issue


def _identity(server: SeaweedFS) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}


def _platform(server: SeaweedFS) -> dict[str, object]:
    credentials = {
        "mode": "iam_role",
        "role_arn": server.role_arn,
        "sts_endpoint": server.sts_endpoint,
        "credential_source": "environment",
    }
    lake = {"endpoint": server.s3_endpoint, "locations": ["s3://lake/"], "access": "read_write", "credentials": credentials}
    return {"version": 1, "environment": "development", "audit": {"enabled": False}, "storage": {"lake": lake}}
