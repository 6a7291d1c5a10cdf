"""Who has connected: the kernel's word, against a process of another user and against whoever would pass for one."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.system.another_user import UID, another_user

from credbroker.system import peer as module
from credbroker.system.peer import Peer, peer_of

CONNECT = """
host, port, family = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET) as client:
    client.connect((host, port))
    sys.stdin.readline()
"""
CONNECT_UNIX = """
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    sys.stdin.readline()
"""


def _netlink_refused() -> socket.socket:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=["netlink", "lists"])
def _by_either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "lists":
        monkeypatch.setattr(module, "_netlink", _netlink_refused)
    else:
        monkeypatch.setattr(module, "_listed", lambda wanted: pytest.fail("the kernel was not asked"))


def _listener(host: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((host, 0))
    listener.listen()
    listener.settimeout(10)
    return listener


@contextmanager
def _connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        _listener("127.0.0.1") as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
    ):
        yield client, accepted


@pytest.mark.usefixtures("_by_either")
@pytest.mark.parametrize(
    ("listens", "connects", "family"),
    [
        ("127.0.0.1", "127.0.0.1", "4"),
        ("127.0.0.1", "::ffff:127.0.0.1", "6"),
        ("::1", "::1", "6"),
        ("::", "127.0.0.1", "4"),
        ("::", "::ffff:127.0.0.1", "6"),
    ],
)
def test_over_tcp_the_uid_is_that_of_the_other_process(listens: str, connects: str, family: str) -> None:
    with _listener(listens) as listener:
        port = str(listener.getsockname()[1])
        with another_user(CONNECT, connects, port, family), listener.accept()[0] as accepted:
            assert peer_of(accepted) == Peer(uid=UID, pid=None, unix=False)


def test_over_a_unix_socket_uid_and_pid_are_those_of_the_other_process(tmp_path: Path) -> None:
    path = Path("/dev/shm") / f"credbroker-test-{os.getpid()}-{tmp_path.name}"  # noqa: S108 - a place that any user reaches
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        listener.settimeout(10)
        try:
            with another_user(CONNECT_UNIX, str(path)) as process, listener.accept()[0] as accepted:
                assert peer_of(accepted) == Peer(uid=UID, pid=process.pid, unix=True)
        finally:
            path.unlink()


@pytest.mark.usefixtures("_by_either")
def test_our_own_connection_is_ours() -> None:
    with _connected() as (client, accepted):
        assert peer_of(accepted) == Peer(os.geteuid(), None, unix=False)
        client.shutdown(socket.SHUT_WR)  # it has said all it had to say, and waits for the answer
        assert accepted.recv(1) == b""
        assert peer_of(accepted).uid == os.geteuid()


@pytest.mark.usefixtures("_by_either")
def test_a_peer_that_has_closed_is_nobody_and_not_root() -> None:
    with _listener("127.0.0.1") as listener:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as accepted:
            client.close()
            assert accepted.recv(1) == b""
            assert peer_of(accepted) == Peer(None, None, unix=False)


def test_a_listener_at_the_address_of_a_peer_that_is_gone_is_not_taken_for_it() -> None:
    with _listener("127.0.0.1") as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", 0))
        client.connect(listener.getsockname())
        theirs = client.getsockname()
        with listener.accept()[0] as accepted:
            ours = accepted.getsockname()
            _reset(client)
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(theirs)
                other.listen()
                wanted = (module._end(theirs), module._end(ours))
                with module._netlink() as asking:
                    assert module._asked(asking, wanted) is None
                assert module._listed(wanted) is None
                assert peer_of(accepted).uid is None


def _reset(client: socket.socket) -> None:
    # Nothing is left of it then, not even for a while.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_nobody_has_the_lists_read_by_a_reset_at_the_wrong_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_listed", lambda wanted: pytest.fail("long lists were read for nothing"))
    with _listener("127.0.0.1") as listener:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as accepted:
            real = module._netlink

            def resetting() -> socket.socket:
                _reset(client)
                return real()

            monkeypatch.setattr(module, "_netlink", resetting)
            assert peer_of(accepted) == Peer(None, None, unix=False)


def test_a_kernel_without_its_module_is_asked_by_its_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_asked", lambda asking, wanted: None)
    with _connected() as (_, accepted):
        assert peer_of(accepted).uid == os.geteuid()


def _closed() -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    return ours


def _unconnected() -> socket.socket:
    with socket.socket() as made:
        return made


@pytest.mark.parametrize("make", [_closed, _unconnected])
def test_what_is_not_connected_is_nobody(make: Callable[[], socket.socket]) -> None:
    assert peer_of(make()).uid is None


def test_without_linux_it_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "darwin")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours) == Peer(None, None, unix=True)


@pytest.mark.parametrize(
    ("mapped", "overflow", "uid"),
    [
        ("         0          0 4294967295\n", "65534", os.geteuid()),
        ("0 100000 65536\n", "65534", os.geteuid()),
        ("0 100000 65536\n", str(os.geteuid()), None),
        (None, None, os.geteuid()),
    ],
)
def test_in_a_user_namespace_the_uid_of_everybody_else_is_nobodys(
    mapped: str | None, overflow: str | None, uid: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fake(path: str, **how: str) -> object:
        content = {"/proc/self/uid_map": mapped, "/proc/sys/kernel/overflowuid": overflow}[path]
        if content is None:
            raise FileNotFoundError(path)
        (tmp_path / "told").write_text(content)
        return (tmp_path / "told").open()

    module._anybody.cache_clear()
    monkeypatch.setattr(module, "open", fake, raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs, _connected() as (_, accepted):
        assert peer_of(ours) == Peer(uid, os.getpid(), unix=True)
        assert peer_of(accepted) == Peer(uid, None, unix=False)
    module._anybody.cache_clear()


def test_where_even_the_lists_are_barred_it_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def barred(path: str, **how: str) -> object:
        raise PermissionError(path)

    with _connected() as (_, accepted):
        assert peer_of(accepted).uid == os.geteuid()
        monkeypatch.setattr(module, "_netlink", _netlink_refused)
        monkeypatch.setattr(module, "open", barred, raising=False)
        assert peer_of(accepted) == Peer(None, None, unix=False)


def test_a_line_of_garbage_in_the_lists_names_nobody() -> None:
    wanted = (module._end(("127.0.0.1", 1)), module._end(("127.0.0.1", 2)))
    assert module._in_list(["", "sl local rem", " 0: 0100007F:0001 0100007F:0002 01"], wanted) is None
    line = " 0: 0100007F:0001 0100007F:0002 {} 0:0 0:0 0 1000 0 {} 2"
    assert module._in_list([line.format("01", "0")], wanted) is None  # no owner
    assert module._in_list([line.format("0A", "77")], wanted) is None  # a listener
    assert module._in_list([line.format("01", "77")], wanted) == (1000 if module.sys.platform == "linux" else None)


def test_it_is_quick_enough_for_each_connection_and_leaves_nothing_open() -> None:
    with _connected() as (_, accepted):
        before = sorted(Path("/proc/self/fd").iterdir())
        took = []
        for _ in range(200):
            start = time.perf_counter()
            peer_of(accepted)
            took.append(time.perf_counter() - start)
        assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert sorted(took)[len(took) // 2] < 1e-4
