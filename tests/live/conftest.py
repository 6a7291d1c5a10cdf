"""Real servers for tests. Each listens on 127.0.0.1 at ports that were free, and ends with the tests that asked for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from tests.servers import aws as awses
from tests.servers import azurite as azurites
from tests.servers import ceph as cephs
from tests.servers import postgres as postgreses
from tests.servers.entra import Entra
from tests.servers.google import Google
from tests.servers.oidc import provider as oidc_providers
from tests.servers.openbao import OpenBao
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


@pytest.fixture(scope="session")
def _oidc_provider() -> Iterator[oidc_providers.OidcProvider]:
    if not oidc_providers.installed():
        # In CI it must be there; elsewhere a machine without node still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"oidc-provider is not installed: {oidc_providers.INSTALL}")
    with oidc_providers.OidcProvider() as server:
        yield server


@pytest.fixture
def oidc(_oidc_provider: oidc_providers.OidcProvider) -> oidc_providers.OidcProvider:
    """A certified OAuth2 server with a client for each way to authenticate. Shared, and as new for each test."""
    _oidc_provider.reset()
    return _oidc_provider


@pytest.fixture(scope="session")
def _aws() -> Iterator[awses.Aws]:
    if not awses.installed():
        # In CI it must be there; elsewhere a machine without it still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"moto is not installed: {awses.INSTALL}")
    with awses.Aws() as server:
        yield server


@pytest.fixture
def moto_aws(_aws: awses.Aws, monkeypatch: pytest.MonkeyPatch) -> awses.Aws:
    """AWS as moto plays it; its owner is the base identity. Shared: name what you keep there after your test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _aws.secret_key)
    _aws.calls.clear()
    return _aws


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgreses.Postgres]:
    """A PostgreSQL that asks every login for its password. Shared."""
    if not postgreses.installed():
        # In CI it must be there; elsewhere a machine with a later Python still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"PostgreSQL is not installed: {postgreses.INSTALL}")
    with postgreses.Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _openbao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="session")
def _lent(_openbao: OpenBao, postgres: postgreses.Postgres) -> None:
    _openbao.lend(postgres, "reports")


@pytest.fixture
def openbao(_openbao: OpenBao, request: pytest.FixtureRequest) -> OpenBao:
    """OpenBao with KV and every login; for a test that asks for ``postgres`` too, with leases of ``reports`` there.

    Shared: name your secrets after your test.
    """
    if "postgres" in request.fixturenames:
        request.getfixturevalue("_lent")
    _openbao.seen.clear()
    return _openbao


@pytest.fixture
def google() -> Iterator[Google]:
    """A project of Google Cloud, made: each request is checked as Google documents it."""
    with Google() as cloud:
        yield cloud


@pytest.fixture
def entra() -> Iterator[Entra]:
    """A tenant of Microsoft Entra with a Key Vault, made: each request is checked as Microsoft documents it."""
    with Entra() as cloud:
        yield cloud
