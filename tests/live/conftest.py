"""Real servers for tests. Each listens on 127.0.0.1 at ports that were free, and ends with the tests that asked for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from tests.servers import azurite as azurites
from tests.servers import ceph as cephs
from tests.servers.store import ANSWERS, Answers, Store, owned, platform

from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS

SHORT_SESSION = timedelta(seconds=4)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFS]:
    """S3, STS and an Iceberg REST catalog; sessions of an hour. Shared: name your tables and keys after your test."""
    with SeaweedFS() as store:
        yield store


@pytest.fixture(scope="session")
def seaweed_short() -> Iterator[SeaweedFS]:
    """The same with sessions of 4 s, which the store cuts to whole seconds: 3 to 4. Shared, as ``seaweed`` is."""
    with SeaweedFS(session=SHORT_SESSION) as store:
        yield store


@pytest.fixture(scope="session")
def azurite() -> Iterator[azurites.Azurite]:
    """Azure's blob service, which enforces SAS. Shared: name your containers after your test."""
    if not azurites.installed():
        # In CI it must be there; elsewhere a machine without node still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Azurite is not installed: {azurites.INSTALL}")
    with azurites.Azurite() as server:
        yield server


@pytest.fixture(scope="session")
def ceph() -> Iterator[cephs.Ceph]:
    """Ceph's S3 and STS; sessions of an hour. Shared: name your keys after your test."""
    if not cephs.installed():
        # In CI it must be there; elsewhere a machine without it still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Ceph is not installed: {cephs.INSTALL}")
    with cephs.Ceph() as store:
        yield store


@pytest.fixture(scope="session", params=["seaweed", "ceph"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each of two S3 stores with an STS, written by different people, with the buckets ``lake`` and ``pond``."""
    with ExitStack() as running:
        # A SeaweedFS of its own: who shares the other one counts its buckets.
        found: Store = request.getfixturevalue("ceph") if request.param == "ceph" else running.enter_context(SeaweedFS())
        with owned(found) as owner:
            for bucket in {"lake", "pond"} - {bucket["Name"] for bucket in owner.list_buckets()["Buckets"]}:
                owner.create_bucket(Bucket=bucket)
        yield found


@pytest.fixture
def keys(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's owner is the base identity that brokers find in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)


@pytest.fixture
def broker(store: Store, keys: None) -> Iterator[Broker]:
    """A broker for both buckets of the store."""
    with Broker.from_config(platform(store)) as running:
        yield running


@pytest.fixture
def owner(store: Store) -> Iterator[Any]:
    """The store, by its owner's keys."""
    with owned(store) as client:
        yield client


@pytest.fixture
def answers(store: Store) -> Answers:
    """What the store answers where the two differ."""
    return ANSWERS[type(store).__name__]


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port that nothing on 127.0.0.1 listens on now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find
