"""The sockets: loopback alone, a port that is taken, a socket that a crash has left, and who may connect."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.system.another_user import UID, another_user

from credbroker.errors import ConfigurationError
from credbroker.sidecar.directory import SOCKET
from credbroker.system.listening import LONGEST_PATH, close_inherited, tcp, unix
from credbroker.system.memory_folder import Folder, open_folder


@pytest.fixture
def folder(memory: Path) -> Iterator[Folder]:
    opened = open_folder(str(memory / "run"), None)
    yield opened
    opened.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1"])
def test_it_listens_on_loopback(host: str) -> None:
    with tcp(host, 0) as listener:
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        with socket.create_connection(listener.getsockname()[:2], timeout=5):
            pass


@pytest.mark.parametrize(
    "host",
    [".".join("0000"), "::", "", "localhost", "192.0.2.1", "169.254.169.254", "::ffff:127.0.0.1", "2130706433", "127.1"],
)
def test_any_other_address_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is no loopback address: use "):
        tcp(host, 0)


def test_a_port_that_is_in_use_is_told_by_its_number() -> None:
    with tcp("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"port {port} is in use: stop what listens there, or set sidecar.listen"
        ):
            tcp("127.0.0.1", port)


def test_a_port_is_free_again_at_once_after_a_restart() -> None:
    with tcp("127.0.0.1", 0) as listener:
        name = listener.getsockname()
        listener.setblocking(True)
        with socket.create_connection(name) as client:
            accepted, _ = listener.accept()
            accepted.close()  # the side that closes first waits for a while (TIME_WAIT)
            assert client.recv(1) == b""
    with tcp(*name) as listener:
        assert listener.getsockname() == name


@pytest.mark.parametrize(
    ("number", "text"), [(13, "port 80 needs a right that the sidecar does not have"), (99, "port 80 cannot be had")]
)
def test_a_port_that_is_not_for_us_is_told_so(number: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigurationError, match=text) as caught:
        tcp("127.0.0.1", 80)
    assert "set sidecar.listen to another port" in str(caught.value)


def _connected(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_it_listens_on_a_unix_socket_of_our_own(folder: Folder) -> None:
    with unix(folder, SOCKET) as listener:
        path = f"{folder.path}/credbroker.sock"
        assert listener.getsockname() == path
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
        assert _connected(path)


def test_a_socket_that_a_crash_has_left_is_replaced(folder: Folder) -> None:
    unix(folder, SOCKET).close()
    with unix(folder, SOCKET) as listener:
        assert _connected(listener.getsockname())


def test_one_that_answers_is_left_to_it(folder: Folder) -> None:
    with unix(folder, SOCKET) as listener:
        with pytest.raises(ConfigurationError, match="another sidecar answers at"):
            unix(folder, SOCKET)
        assert _connected(listener.getsockname())


def test_something_else_at_its_place_is_left_there(folder: Folder, memory: Path) -> None:
    place = Path(folder.path) / "credbroker.sock"
    place.touch()
    with pytest.raises(ConfigurationError, match="is there, and no socket of ours"):
        unix(folder, SOCKET)
    place.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(memory / "other"))
    place.symlink_to(memory / "other")
    with pytest.raises(ConfigurationError, match="is there, and no socket of ours"):
        unix(folder, SOCKET)
    assert (memory / "other").is_socket()


def test_a_path_that_no_socket_can_have_is_refused_with_its_length(memory: Path) -> None:
    room = LONGEST_PATH - len(f"{memory}//credbroker.sock")
    for length, fits in ((room, True), (room + 1, False)):
        opened = open_folder(f"{memory}/{'x' * length}", None)
        if fits:
            unix(opened, SOCKET).close()
        else:
            with pytest.raises(ConfigurationError, match="has 108 bytes, and a Unix socket's path has at most 107"):
                unix(opened, SOCKET)
        opened.close()


def test_a_folder_that_was_moved_away_gets_no_socket_elsewhere_unnoticed(folder: Folder) -> None:
    path = Path(folder.path)
    path.rename(path.parent / "moved")
    path.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="cannot be listened at: no such file or directory"):
        unix(folder, SOCKET)
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path / "credbroker.sock"))


CONNECT = """
client = socket.socket(socket.AF_UNIX)
print(client.connect_ex(sys.argv[1]), flush=True)
"""


@pytest.mark.parametrize("declared", [True, False])
def test_another_user_connects_by_its_group_alone(declared: bool, memory: Path) -> None:
    root = os.geteuid() == 0
    memory.chmod(0o711)
    opened = open_folder(str(memory / "run"), (UID if root else os.getegid()) if declared else None)
    with unix(opened, SOCKET) as listener:
        path = listener.getsockname()
        assert stat.S_IMODE(os.lstat(path).st_mode) == (0o660 if declared else 0o600)
        with another_user(CONNECT, path) as client:
            assert client.stdout is not None
            answer = int(client.stdout.readline())
    opened.close()
    assert (answer == 0) == (declared or not root)  # without root the other user is the owner


def test_a_forked_child_lets_go_of_what_was_accepted_a_moment_before() -> None:
    with tcp("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as client:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        child = os.fork()
        if child == 0:
            close_inherited([listener])
            os._exit(sum(_is_open(sock) << place for place, sock in enumerate((listener, accepted, client))))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0b100  # the client's end is nobody's but its own
        accepted.sendall(b"here")
        assert client.recv(4) == b"here"
        accepted.close()


def _is_open(sock: socket.socket) -> bool:
    try:
        return bool(os.fstat(sock.fileno()))
    except (OSError, ValueError):
        return False
