from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.servers.hostile import HostileServer, Script, answer, hanging, pouring, saying, trickling

from credbroker.system.clock import elapsed
from credbroker.system.local_http import LocalAnswer, LocalFault, get

HEADERS = {"Host": "127.0.0.1:1", "Authorization": "Bearer canary-token"}
MARGIN = 5.0
"""Seconds: what a busy machine may add to a deadline before a test calls it missed."""


def ask(script: Script, *, timeout: float = 10.0, largest: int = 1024) -> tuple[LocalAnswer | LocalFault, bytes]:
    with HostileServer(script) as server:
        found = get(("127.0.0.1", server.port), "/lake-read/aws-container", HEADERS, timeout=timeout, largest=largest)
        return found, b"".join(server.requests)


def test_the_request_is_the_path_and_the_headers_and_nothing_of_ours() -> None:
    found, request = ask(saying(answer(b"{}")))
    assert found == LocalAnswer(200, b"{}")
    assert request == (
        b"GET /lake-read/aws-container HTTP/1.1\r\n"
        b"Host: 127.0.0.1:1\r\nAuthorization: Bearer canary-token\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 302, 401, 404, 429, 503])
def test_any_status_is_the_caller_s_to_judge_and_no_redirect_is_followed(status: int) -> None:
    found, requests = ask(saying(answer(b"{}", status=f"{status} X", headers=("Location: http://127.0.0.1:1/elsewhere",))))
    assert found == LocalAnswer(status, b"{}")
    assert requests.count(b"GET ") == 1


def test_an_answer_in_pieces_is_put_together() -> None:
    assert ask(saying(b"HTTP/1.1 200 OK\r\nContent-", b"Length: 4\r\n\r\n{", b"  }"))[0] == LocalAnswer(200, b"{  }")


def test_without_a_length_the_body_ends_with_the_connection() -> None:
    assert ask(saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"))[0] == LocalAnswer(200, b"{}")


def test_what_follows_the_stated_length_is_not_the_body_s() -> None:
    assert ask(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n"))[0] == LocalAnswer(200, b"{}")


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.9",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\n Content-Length: 2",
        b"HTTP/1.1 200 OK\r\nno header",
    ],
)
def test_what_is_no_plain_http_is_refused(head: bytes) -> None:
    found, _ = ask(saying(head + b"\r\n\r\n{}"))
    assert found == LocalFault("what answers there does not speak HTTP as a sidecar does", connected=True)


@pytest.mark.parametrize(
    "script",
    [
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n"),
        pouring(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 1024 * 1024),
        saying(answer(bytes(1025))),
        saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(1025)),
    ],
)
def test_a_body_has_at_most_so_many_bytes(script: Script) -> None:
    assert ask(script)[0] == LocalFault("the answer is larger than 1 KiB", connected=True)
    assert ask(saying(answer(bytes(1024))))[0] == LocalAnswer(200, bytes(1024))


def test_so_has_the_head() -> None:
    found, _ = ask(pouring(b"HTTP/1.1 200 OK\r\nX: ", 1024 * 1024))
    assert found == LocalFault("the head of the answer is larger than 16 KiB", connected=True)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
def test_an_answer_that_is_cut_off_is_none(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)

        thread = threading.Thread(target=serve)
        thread.start()
        found = get(listener.getsockname(), "/", {}, timeout=10, largest=1024)
        thread.join()
    assert found == LocalFault("the connection was closed before the answer was complete", connected=True)


@pytest.mark.parametrize(
    "script", [hanging(), trickling(b""), trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")], ids=range(3)
)
def test_it_ends_with_its_time_however_slowly_it_is_fed(script: Script) -> None:
    start = elapsed()
    found, _ = ask(script, timeout=0.4)
    assert found == LocalFault("no complete answer within 0.4 s", connected=True)
    assert 0.4 <= elapsed() - start < 0.4 + MARGIN


def test_nobody_there_is_told_by_the_system_s_own_number(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    refused = get(address, "/", HEADERS, timeout=5, largest=1024)
    assert refused == LocalFault("connection refused", connected=False, errno=errno.ECONNREFUSED)
    missing = get(str(tmp_path / "s"), "/", HEADERS, timeout=5, largest=1024)
    assert missing == LocalFault("no such file or directory", connected=False, errno=errno.ENOENT)
    too_long = get(str(tmp_path / ("s" * 200)), "/", HEADERS, timeout=5, largest=1024)
    assert too_long == LocalFault("af_unix path too long", connected=False)


def test_the_environment_s_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(saying(answer(b"{}")))[0] == LocalAnswer(200, b"{}")


def test_no_repr_shows_the_answer() -> None:
    assert "canary" not in repr(LocalAnswer(200, b"canary"))


def test_it_costs_no_ssl_and_no_email() -> None:
    script = (
        "import sys, credbroker.system.local_http\n"
        "heavy = {'ssl', 'http.client', 'email', 'urllib.request', 'requests', 'pydantic'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
