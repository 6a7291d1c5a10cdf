from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.hostile import HostileServer, answer, saying
from tests.servers.stub_sidecar import KEYS, StubSidecar

from credbroker import errors
from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.sidecar.client import ask, find, is_name, refusal

PATH, TOKEN = "/lake-read/aws-container", "lake-read.token"


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubSidecar]:
    with StubSidecar(tmp_path / "credbroker") as running:
        yield running


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[StubSidecar]:
    with StubSidecar(tmp_path / "credbroker", unix=False) as running:
        yield running


def place(stub: StubSidecar) -> str:
    return str(stub.directory)


# -------------------------------------------------------------------------------------------------------------- finding it


def test_a_directory_tells_where_the_sidecar_is_and_what_it_serves(stub: StubSidecar) -> None:
    found = find(place(stub))
    assert (found.host, found.port) == ("127.0.0.1", stub.port)
    assert found.bindings == {"lake-read": ("aws-container",), "polaris": ("oauth2-token",)}


def test_the_argument_counts_before_the_variable_and_that_before_the_default(
    stub: StubSidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CREDBROKER_SIDECAR", raising=False)
    assert find().directory == place(stub)
    monkeypatch.setenv("CREDBROKER_SIDECAR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"nowhere/sidecar\.json: .* no sidecar runs there"):
        find()
    assert find(place(stub)).directory == place(stub)


def test_the_directory_of_a_stranger_is_not_believed(stub: StubSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /dev/shm anybody can make a directory of any name, and serve keys to a place of their own."""
    stranger = os.geteuid() + 1 or 1
    monkeypatch.setattr("credbroker.sidecar.client.own_uid", lambda: stranger + 1)
    if os.geteuid() == 0:
        os.chown(stub.directory, stranger, stranger)
    owner = stub.directory.stat().st_uid
    with pytest.raises(ConfigurationError, match=f"it belongs to the user {owner}: .*--owner UID"):
        find(place(stub))
    with pytest.raises(ConfigurationError, match="--owner UID"):
        find(place(stub), owner=owner + 7)
    assert find(place(stub), owner=owner).port == stub.port
    monkeypatch.setattr("credbroker.sidecar.client.own_uid", lambda: owner)
    assert find(place(stub)).port == stub.port


def test_nor_is_one_that_others_write(stub: StubSidecar) -> None:
    stub.directory.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others than its owner can write into it"):
        find(place(stub))


def test_nor_a_link_to_one(stub: StubSidecar, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stub.directory)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find(str(tmp_path / "link"))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:80",
        "http://192.0.2.1:8642",
        "http://0.0.0.0:8642",
        "http://localhost:8642",
        "http://127.0.0.1:8642@192.0.2.1:80",
        "http://127.0.0.1:8642/x",
        "http://127.0.0.1:0",
        "http://127.0.0.1:70000",
        "http://127.0.0.1",
        "https://127.0.0.1:8642",
        "http://[::ffff:192.0.2.1]:80",
        "http://[1:2]:80",
        7,
    ],
)
def test_an_address_beyond_this_machine_is_refused(stub: StubSidecar, url: object) -> None:
    stub.describe(url=url)
    with pytest.raises(ConfigurationError, match="url is no http address of this machine alone"):
        find(place(stub))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "{", "[" * 100_000, '{"version":1,"url":"x","bindings":[]}', "\udcff"]
)
def test_a_description_that_is_none_is_refused_without_showing_it(stub: StubSidecar, text: str) -> None:
    (stub.directory / "sidecar.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match=r"sidecar\.json: is no description of a sidecar"):
        find(place(stub))


def test_so_is_one_of_another_version(stub: StubSidecar) -> None:
    stub.describe(version=2)
    with pytest.raises(ConfigurationError, match="is of another version"):
        find(place(stub))


# --------------------------------------------------------------------------------------------------------------- asking it


def test_by_the_socket_no_token_is_needed(stub: StubSidecar) -> None:
    (stub.directory / TOKEN).unlink()
    status, body = ask(find(place(stub)), PATH, TOKEN)
    assert status == 200
    assert KEYS["SecretAccessKey"].encode() in body
    assert stub.asked == [("unix", PATH)]


def test_without_a_socket_the_token_goes_by_tcp_and_is_read_anew(tcp: StubSidecar) -> None:
    sidecar = find(place(tcp))
    assert ask(sidecar, PATH, TOKEN)[0] == 200
    tcp.tokens["lake-read"] = "another"
    assert ask(sidecar, PATH, TOKEN)[0] == 401
    (tcp.directory / TOKEN).write_text("another")
    assert ask(sidecar, PATH, TOKEN)[0] == 200
    assert {how for how, _ in tcp.asked} == {"tcp"}


def test_who_is_not_known_at_the_socket_shows_the_token(tmp_path: Path) -> None:
    with StubSidecar(tmp_path / "credbroker", admits=False) as stub:
        assert ask(find(place(stub)), PATH, TOKEN)[0] == 200
        assert stub.asked == [("unix", PATH), ("tcp", PATH)]
        (stub.directory / TOKEN).unlink()
        assert ask(find(place(stub)), PATH, TOKEN)[0] == 401


def test_a_dead_socket_is_a_dead_sidecar_and_its_port_is_shown_no_token(tmp_path: Path) -> None:
    """Once it is gone, anybody may listen at its port."""
    with StubSidecar(tmp_path / "credbroker") as stub:
        sidecar = find(place(stub))
    with HostileServer(saying(answer(b"{}"))) as server:
        stub.describe(url=f"http://127.0.0.1:{server.port}")
        with pytest.raises(IssuerUnavailable, match=r"does not answer \(connection refused\): is it still running"):
            ask(find(place(stub)), PATH, TOKEN)
        assert server.accepted == 0
    with pytest.raises(IssuerUnavailable):
        ask(sidecar, PATH, TOKEN)


def test_nobody_at_the_port_is_told(tmp_path: Path) -> None:
    with StubSidecar(tmp_path / "credbroker", unix=False) as stub:
        sidecar = find(place(stub))
    with pytest.raises(IssuerUnavailable, match="connection refused"):
        ask(sidecar, PATH, TOKEN)


def test_a_token_that_cannot_be_read_names_the_file_and_the_remedy(tcp: StubSidecar) -> None:
    (tcp.directory / TOKEN).unlink()
    with pytest.raises(ConfigurationError, match=r"lake-read\.token: cannot be read: no such file"):
        ask(find(place(tcp)), PATH, TOKEN)


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX: y", "canary\n", "ü", "x" * 1025])
def test_what_is_no_token_is_sent_nowhere(tcp: StubSidecar, text: str) -> None:
    (tcp.directory / TOKEN).write_bytes(text.encode())
    with pytest.raises(ConfigurationError) as caught:
        ask(find(place(tcp)), PATH, TOKEN)
    assert "canary" not in str(caught.value)
    assert tcp.asked == []


def test_no_frame_of_an_error_holds_the_token(tmp_path: Path) -> None:
    with StubSidecar(tmp_path / "credbroker", unix=False) as stub:
        sidecar = find(place(stub))
    with pytest.raises(IssuerUnavailable) as caught:
        ask(sidecar, PATH, TOKEN)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "token-of-lake-read" not in told


def test_an_answer_that_is_too_large_is_none(stub: StubSidecar) -> None:
    stub.answers[PATH] = (200, b"x" * (64 * 1024 + 1))
    with pytest.raises(IssuerUnavailable, match="the answer is larger than 64 KiB"):
        ask(find(place(stub)), PATH, TOKEN)


# ------------------------------------------------------------------------------------------------------------ other answers


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "Unauthorized", AccessDenied),
        (403, "ForbiddenPeer", AccessDenied),
        (403, "AccessDenied", AccessDenied),
        (403, "IssueDenied", IssueDenied),
        (404, "NotFound", ConfigurationError),
        (429, "TooManyRequests", IssuerUnavailable),
        (500, "InternalError", IssuerUnavailable),
        (503, "CredentialExpired", IssuerUnavailable),
        (503, "InsufficientLifetime", errors.InsufficientLifetime),
        (503, "SecretNotFound", errors.SecretNotFound),
        (302, "", MalformedResponse),
        (503, "BrokerClosed", IssuerUnavailable),
        (503, "canary", IssuerUnavailable),
    ],
)
def test_an_answer_is_the_error_that_it_names_or_that_its_status_means(
    status: int, code: str, kind: type[CredbrokerError]
) -> None:
    error = refusal(status, f'{{"code":"{code}","message":"canary"}}'.encode(), "the keys of lake-read")
    assert type(error) is kind
    assert "the keys of lake-read" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>canary", b"[]", b'{"code":7}', b"\xff", b"[" * 100_000])
def test_a_body_of_any_form_is_not_repeated(body: bytes) -> None:
    error = refusal(503, body, "it")
    assert type(error) is IssuerUnavailable
    assert "canary" not in str(error)


@pytest.mark.parametrize("name", ["lake-read", "Lake_2.x"])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "a\r\nHost: x", "a\n", "ü", ".hidden", "x" * 129])
def test_a_name_leads_nowhere_else(name: str) -> None:
    assert not is_name(name)


def test_it_loads_the_standard_library_alone() -> None:
    script = (
        "import sys, credbroker.sidecar.client\n"
        "heavy = {'pydantic', 'requests', 'urllib3', 'yaml', 'uvicorn', 'prometheus_client', 'ssl', 'email', 'asyncio'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_many_ask_at_once(stub: StubSidecar) -> None:
    sidecar, found = find(place(stub)), []
    threads = [threading.Thread(target=lambda: found.append(ask(sidecar, PATH, TOKEN)[0])) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 50
