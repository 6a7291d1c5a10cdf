"""A client's secret or key that is replaced under a running broker: no restart, and no ``get`` that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from credbroker import Broker
from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.resolver import Resolver
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from credbroker.testing import ManualClock

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider

LIFETIME = 16  # seconds: replaced from the eleventh on, used to the fourteenth and a half
BEHIND = 2.5  # seconds, by which the mount is behind the issuer
PATIENCE = 10.0
SIGNED_OR_SHOWN = ("basic", "post", "secret-jwt", "rs256", "es256")


class KubeletMount:
    """Secrets as the kubelet mounts them: all are replaced at once, by one symbolic link that is renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0

    def write(self, secrets: Mapping[str, str]) -> None:
        self._versions += 1
        version = self.folder / f"..2026_11_23_{self._versions}"
        version.mkdir()
        for name, value in secrets.items():
            (version / name).write_text(value)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")


class Caller(threading.Thread):
    """Gets the token again and again, as a pipeline does, and keeps what went wrong."""

    def __init__(self, get: Callable[[], AccessToken]) -> None:
        super().__init__(daemon=True)
        self.gets = 0
        self.failures: list[BaseException] = []
        self.tokens: list[AccessToken] = []
        self._get = get
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            self.gets += 1
            try:
                token = self._get()
                assert token.expires_at is not None
                assert token.expires_at > datetime.now(UTC)
            except BaseException as failure:
                self.failures.append(failure)
                continue
            if token not in self.tokens:
                self.tokens.append(token)

    def end(self) -> None:
        self._over.set()
        self.join(PATIENCE)


def until(met: Callable[[], bool]) -> None:
    poll = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if met():
            return
        poll.wait(0.02)
    raise TimeoutError("it did not come to that")


def errors(oidc: OidcProvider) -> list[str | None]:
    return [request.error for request in oidc.requests("/token")]


# -- by the real clock -----------------------------------------------------------------------------------------------------


def test_no_get_fails_while_the_mount_is_behind_the_issuer(oidc: OidcProvider, tmp_path: Path) -> None:
    client = oidc.client("basic")
    config = oidc.platform(tmp_path, c=client.credentials())
    (tmp_path / client.reference).unlink()
    mount = KubeletMount(tmp_path)
    mount.write(client.secrets)
    oidc.token_lifetime(LIFETIME)
    with Broker.from_config(config) as broker:
        first = broker.catalog("c").get()
        caller = Caller(broker.catalog("c").get)
        caller.start()
        try:
            until(lambda: float(str(broker.status()[0]["refresh_in"])) < 0.7)
            oidc.rotate("basic")
            synced = threading.Timer(BEHIND, mount.write, [client.secrets])
            synced.start()
            until(lambda: len(caller.tokens) == 2)
            synced.join()
        finally:
            caller.end()
    heard = errors(oidc)
    assert caller.failures == []
    assert caller.tokens[0] == first
    assert caller.gets > 500
    # Refused at least once, and not as often as it was asked.
    assert (heard[0], heard[-1]) == (None, None)
    assert set(heard[1:-1]) == {"invalid_client"}
    assert len(heard) < 20


# -- by a clock that is moved ----------------------------------------------------------------------------------------------


class Overtaken(SystemEnvironment):
    """Files that are replaced right after they were read: what was read is then what the issuer takes no more."""

    def __init__(self) -> None:
        self.then: Callable[[], object] = lambda: None

    def read(self, path: str, *, within: str | None = None) -> bytes:
        content = super().read(path, within=within)
        then, self.then = self.then, lambda: None
        then()
        return content


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def environment() -> Overtaken:
    return Overtaken()


@pytest.fixture
def opened(
    oidc: OidcProvider, tmp_path: Path, clock: ManualClock, environment: Overtaken
) -> Iterator[Callable[[Mapping[str, Any]], Broker]]:
    brokers: list[Broker] = []

    def make(block: Mapping[str, Any]) -> Broker:
        secrets = Resolver([FilesBackend(str(tmp_path))], Context(environment=environment))
        context = Context(clock=clock, http=SystemHttp(), environment=environment, secrets=secrets)
        brokers.append(Broker.from_config(oidc.platform(tmp_path, c=block), context=context))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


@pytest.mark.parametrize("name", SIGNED_OR_SHOWN)
def test_what_was_replaced_in_place_is_used_at_the_next_issue(
    name: str, oidc: OidcProvider, opened: Any, tmp_path: Path, clock: ManualClock
) -> None:
    client = oidc.client(name)
    source = opened(client.credentials()).catalog("c")
    first = source.get()
    (tmp_path / client.reference).write_text(oidc.rotate(name))
    clock.advance(3600)
    assert source.get() != first
    assert errors(oidc) == [None, None]


@pytest.mark.parametrize("name", SIGNED_OR_SHOWN)
def test_what_is_replaced_while_we_ask_is_used_in_the_same_issue(
    name: str, oidc: OidcProvider, opened: Any, tmp_path: Path, environment: Overtaken
) -> None:
    client = oidc.client(name)
    source = opened(client.credentials()).catalog("c")
    environment.then = lambda: (tmp_path / client.reference).write_text(oidc.rotate(name))
    assert oidc.introspect(source.get().value.get_secret_value())["active"]
    assert errors(oidc) == ["invalid_client", None]


def test_the_second_secret_of_a_rotation_is_used_once_the_first_is_dead(
    oidc: OidcProvider, opened: Any, tmp_path: Path, clock: ManualClock
) -> None:
    client = oidc.client("post")
    source = opened(client.credentials(client_secret={"secret_ref": client.reference, "next": "second"})).catalog("c")
    second = oidc.add_secret("post")
    (tmp_path / "second").write_text(second)
    source.get()
    assert errors(oidc) == [None]  # the first one is still good, and the second is not tried
    oidc.rotate("post", to=second)
    clock.advance(3600)
    source.get()
    assert errors(oidc) == [None, "invalid_client", None]


@pytest.mark.parametrize(("name", "part"), [("basic", 0.0), ("basic", 0.6), ("rs256", 0.0), ("rs256", 0.6)])
def test_a_half_written_secret_costs_no_get(  # noqa: PLR0917 - each is a fixture
    name: str, part: float, oidc: OidcProvider, opened: Any, tmp_path: Path, clock: ManualClock
) -> None:
    client = oidc.client(name)
    broker = opened(client.credentials())
    source = broker.catalog("c")
    first = source.get()
    file = tmp_path / client.reference
    whole = oidc.rotate(name)
    file.write_text(whole[: int(len(whole) * part)])
    clock.advance(3000)  # a new one is due, and the first is good for ten minutes
    assert source.get() == first
    until(lambda: broker.status()[0]["failures"] == 1)
    assert source.get() == first
    file.write_text(whole)
    clock.advance(60)
    until(lambda: source.get() != first)
    assert set(errors(oidc)[1:-1]) <= {"invalid_client"}
