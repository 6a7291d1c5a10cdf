"""Real servers for tests. Each listens on 127.0.0.1 at ports that were free, and ends with the tests that asked for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

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


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port that nothing on 127.0.0.1 listens on now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find
