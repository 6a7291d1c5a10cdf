from __future__ import annotations

import gc
import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.servers.certificates import server_context
from tests.servers.hostile import HostileServer, answer, hanging, saying, trickling

from credbroker.context import Connection, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, IssuerUnavailable, MalformedResponse
from credbroker.system.clock import elapsed
from credbroker.system.http import LARGEST_BODY, SystemHttp
from credbroker.testing import ManualClock

PATIENT = 10.0
SHORT = 0.4
MARGIN = 5.0
"""Seconds: what a busy machine may add to a deadline before a test calls it missed."""


def _get(http: SystemHttp, url: str, *, timeout: float = PATIENT, **options: object) -> HttpResponse:
    return http.send(HttpRequest("GET", url), timeout=timeout, **options)  # type: ignore[arg-type]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# ------------------------------------------------------------------------------------------------------------ the answer


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 419, 429, 500, 501, 503])
def test_any_status_but_a_redirect_is_the_caller_s_to_judge(status: int) -> None:
    with HostileServer(saying(answer(b"{}", status=f"{status} X"))) as server:
        response = _get(SystemHttp(), server.url)
    assert (response.status, response.body) == (status, b"{}")


def test_header_names_are_lower_case_and_times_come_from_the_clock() -> None:
    clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
    with HostileServer(saying(answer(b"{}", headers=("X-Thing: One", "Retry-After: 7")))) as server:
        response = _get(SystemHttp(clock=clock), server.url)
    assert response.headers["x-thing"] == "One"
    assert response.headers["retry-after"] == "7"
    assert response.sent == response.received == clock.now()


def test_sent_is_read_after_connecting_and_received_before_the_body_has_come() -> None:
    class Counting(ManualClock):
        def now(self) -> datetime:
            self.advance(1)
            return super().now()

    with HostileServer(saying(answer(b"{}"))) as server:
        clock = Counting()
        seen: list[datetime] = []
        response = _get(SystemHttp(clock=clock), server.url, on_connection=lambda _: seen.append(clock.now()))
    assert seen[0] < response.sent < response.received


def test_the_request_arrives_as_it_was_made_and_says_who_asks() -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        request = HttpRequest("POST", server.url + "?a=1", {"Authorization": "Basic abc", "Content-Type": "x/y"}, b"grant=1")
        SystemHttp().send(request, timeout=PATIENT)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /token?a=1 http/1.1"
    assert {
        b"authorization: basic abc",
        b"content-type: x/y",
        b"user-agent: credbroker",
        b"accept-encoding: identity",
    } <= set(lines)
    assert body == b"grant=1"


def test_no_cookie_is_sent_back() -> None:
    with HostileServer(saying(answer(b"{}", headers=("Set-Cookie: session=1; Path=/",)))) as server:
        http = SystemHttp()
        _get(http, server.url)
        _get(http, server.url)
    assert b"cookie" not in server.requests[1].lower()


def test_a_chunked_answer_is_read() -> None:
    pieces = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    with HostileServer(saying(*pieces)) as server:
        assert _get(SystemHttp(), server.url).body == b"abcde"


def test_an_answer_of_exactly_one_mebibyte_is_read_and_one_byte_more_is_not() -> None:
    with HostileServer(saying(answer(b"x" * LARGEST_BODY))) as server:
        assert len(_get(SystemHttp(), server.url).body) == LARGEST_BODY
    with HostileServer(saying(answer(b"x" * (LARGEST_BODY + 1)))) as server, pytest.raises(MalformedResponse, match="1 MiB"):
        _get(SystemHttp(), server.url)


def test_gzip_that_was_not_asked_for_is_read() -> None:
    with HostileServer(saying(answer(gzip.compress(b"{}"), headers=("Content-Encoding: gzip",)))) as server:
        assert _get(SystemHttp(), server.url).body == b"{}"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_another_encoding_is_malformed(encoding: str) -> None:
    with (
        HostileServer(saying(answer(b"{}", headers=(f"Content-Encoding: {encoding}",)))) as server,
        pytest.raises(MalformedResponse, match="encoding"),
    ):
        _get(SystemHttp(), server.url)


@pytest.mark.parametrize("body", [b"{}", gzip.compress(b"x" * 100)[:-9]])
def test_broken_gzip_is_malformed(body: bytes) -> None:
    with (
        HostileServer(saying(answer(body, headers=("Content-Encoding: gzip",)))) as server,
        pytest.raises(MalformedResponse, match="gzip"),
    ):
        _get(SystemHttp(), server.url)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_refused_without_naming_where_it_leads(status: int) -> None:
    with (
        HostileServer(
            saying(answer(b"", status=f"{status} Go", headers=("Location: http://evil.example/canary",)))
        ) as server,
        pytest.raises(MalformedResponse, match="redirect") as caught,
    ):
        _get(SystemHttp(), server.url)
    assert "evil" not in str(caught.value)
    assert server.accepted == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
    ],
    ids=["binary", "ssh", "headers", "long header", "status"],
)
def test_what_is_no_http_is_malformed(garbage: bytes) -> None:
    with HostileServer(saying(garbage)) as server, pytest.raises(MalformedResponse):
        _get(SystemHttp(), server.url)


def test_an_answer_that_is_cut_off_is_a_lost_connection() -> None:
    pieces = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{"
    with HostileServer(saying(pieces)) as server, pytest.raises(IssuerUnavailable, match="before its answer was complete"):
        _get(SystemHttp(), server.url)


def test_a_connection_that_closes_without_a_word_is_lost() -> None:
    with HostileServer(saying()) as server, pytest.raises(IssuerUnavailable, match="before its answer was complete"):
        _get(SystemHttp(), server.url)


# ---------------------------------------------------------------------------------------------------------- the deadline


@pytest.mark.parametrize(
    "script",
    [
        hanging(),
        hanging(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\n\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\nX-Long: "),
        trickling(b"HTTP/1.1 200 O"),
        trickling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"),
    ],
    ids=["silence", "body stops", "body", "body to the end", "headers", "status line", "chunks"],
)
def test_an_answer_that_does_not_come_in_time_ends_at_the_deadline(script: object) -> None:
    with HostileServer(script) as server:  # type: ignore[arg-type]
        start = elapsed()
        with pytest.raises(IssuerUnavailable, match=r"did not answer completely within 0\.4 s"):
            _get(SystemHttp(), server.url, timeout=SHORT)
        assert SHORT * 0.9 < elapsed() - start < SHORT + MARGIN


def test_a_stalled_tls_handshake_ends_at_the_deadline() -> None:
    with HostileServer(saying(), silent=True) as server:
        start = elapsed()
        with pytest.raises(IssuerUnavailable, match="within"):
            _get(SystemHttp(), f"https://127.0.0.1:{server.port}/", timeout=SHORT)
        assert elapsed() - start < SHORT + MARGIN


def test_a_trickle_over_tls_ends_at_the_deadline(tmp_path: Path) -> None:
    script = trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with HostileServer(script, tls=server_context(tmp_path)) as server:
        http = SystemHttp(ca_file=str(tmp_path / "ca.pem"))
        start = elapsed()
        with pytest.raises(IssuerUnavailable, match="within"):
            _get(http, server.url, timeout=SHORT)
        assert elapsed() - start < SHORT + MARGIN


def test_a_request_that_nobody_takes_ends_at_the_deadline() -> None:
    """The body is larger than what the system buffers for a peer that never reads."""
    with HostileServer(saying(), silent=True) as server:
        start = elapsed()
        with pytest.raises(IssuerUnavailable, match="within"):
            SystemHttp().send(HttpRequest("POST", server.url, {}, bytes(64 * 1024 * 1024)), timeout=SHORT)
        assert elapsed() - start < SHORT + MARGIN


def test_no_time_left_is_no_request() -> None:
    with HostileServer(saying(answer(b"{}"))) as server, pytest.raises(IssuerUnavailable):
        _get(SystemHttp(), server.url, timeout=0)
    assert server.accepted == 0


def test_the_second_address_is_tried_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", _closed_port())),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert _get(SystemHttp(), "http://localhost:1/").status == 200


# ------------------------------------------------------------------------------------------------------- where it may go


def test_a_refused_connection_says_so_without_the_query() -> None:
    with pytest.raises(IssuerUnavailable, match=r"127\.0\.0\.1:\d+ failed: connection refused") as caught:
        _get(SystemHttp(), f"http://127.0.0.1:{_closed_port()}/?token=canary")
    assert "canary" not in str(caught.value)
    assert caught.value.retryable


def test_a_name_that_does_not_resolve_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(IssuerUnavailable, match=r"issuer\.invalid could not be resolved"):
        _get(SystemHttp(), "https://issuer.invalid/")


def _no_lookup(*_: object, **__: object) -> None:
    pytest.fail("a name was looked up")


@pytest.mark.parametrize(
    "host", ["evil.example", "amazonaws.com", "evilamazonaws.com", "sts.amazonaws.com.evil.example", "xpolaris.internal"]
)
def test_a_host_that_is_not_listed_is_refused_before_its_name_is_looked_up(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _no_lookup)
    http = SystemHttp(allowed_hosts=["polaris.internal", "*.amazonaws.com"])
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        _get(http, f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://polaris.internal",
        "https://POLARIS.internal.:8181/x",
        "https://sts.amazonaws.com/",
        "https://sts.eu-west-1.amazonaws.com./",
        "https://STS.Amazonaws.com",
    ],
)
def test_a_listed_host_passes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(IssuerUnavailable, match="resolved"):
        _get(SystemHttp(allowed_hosts=["polaris.internal", "*.amazonaws.com."]), url)


def test_an_empty_list_allows_nothing() -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        _get(SystemHttp(allowed_hosts=[]), "http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://10.0.0.1/",
        "http://2130706433/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1/token",
        "https://",
        "",
        "https://user:canary@127.0.0.1/",
        "https://issuer.example:99999/",
        "https://[::1",
    ],
)
def test_what_is_not_https_or_loopback_is_refused_before_any_look_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _no_lookup)
    with pytest.raises(ConfigurationError) as caught:
        _get(SystemHttp(), url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://allowed.example\\@evil.example/", "https://allowed.example%2f@evil.example/"])
def test_no_text_is_read_as_one_host_and_asked_at_another(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def unknown(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises((ConfigurationError, IssuerUnavailable)):
        _get(SystemHttp(allowed_hosts=["allowed.example"]), url)
    assert set(asked) <= {"allowed.example"}


def test_plain_http_to_another_machine_needs_to_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(ConfigurationError, match="allow_insecure"):
            _get(SystemHttp(), "http://issuer.example/")
        assert _get(SystemHttp(), "http://issuer.example/", allow_insecure=True).status == 200


def test_a_header_that_would_begin_another_one_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SystemHttp().send(HttpRequest("GET", "http://127.0.0.1:1/", {"X-Token": "canary\r\nX-Evil: 1"}), timeout=PATIENT)
    assert "canary" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_of_the_configured_authority_is_trusted_and_reported(tmp_path: Path) -> None:
    seen: list[Connection] = []
    with HostileServer(saying(answer(b"{}")), tls=server_context(tmp_path)) as server:
        response = _get(SystemHttp(ca_file=str(tmp_path / "ca.pem")), server.url, on_connection=seen.append)
    assert response.status == 200
    assert seen == [Connection("127.0.0.1", server.port, "127.0.0.1", "TLSv1.3")]


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    with (
        HostileServer(saying(answer(b"{}")), tls=server_context(tmp_path)) as server,
        pytest.raises(IssuerUnavailable, match="not trusted"),
    ):
        _get(SystemHttp(), server.url)
    assert server.requests == []


def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    with (
        HostileServer(saying(answer(b"{}")), tls=server_context(tmp_path, address="127.0.0.9")) as server,
        pytest.raises(IssuerUnavailable, match="not trusted"),
    ):
        _get(SystemHttp(ca_file=str(tmp_path / "ca.pem")), server.url)
    assert server.requests == []


def test_tls_below_1_2_is_refused(tmp_path: Path) -> None:
    context = server_context(tmp_path)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with HostileServer(saying(answer(b"{}")), tls=context) as server, pytest.raises(IssuerUnavailable, match=r"TLS 1\.2"):
        _get(SystemHttp(ca_file=str(tmp_path / "ca.pem")), server.url)


def test_https_to_a_port_that_speaks_plain_http_is_unavailable() -> None:
    with HostileServer(saying(answer(b"{}"))) as server, pytest.raises(IssuerUnavailable):
        _get(SystemHttp(), f"https://127.0.0.1:{server.port}/", timeout=SHORT)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "company.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"network\.ca_file '.*company\.pem'"):
        _get(SystemHttp(ca_file=str(path)), "https://127.0.0.1:1/")


# ------------------------------------------------------------------------------------------- nothing ambient, the proxy


def test_the_environment_s_proxy_certificates_netrc_and_key_log_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n")
    netrc.chmod(0o600)
    trap = f"http://127.0.0.1:{_closed_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, trap)
    context = server_context(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    with HostileServer(saying(answer(b"{}"))) as server:
        assert _get(SystemHttp(), server.url).status == 200
        assert b"authorization" not in server.requests[0].lower()
    with HostileServer(saying(answer(b"{}")), tls=context) as server:
        with pytest.raises(IssuerUnavailable, match="not trusted"):
            _get(SystemHttp(), server.url)
        assert _get(SystemHttp(ca_file=str(tmp_path / "ca.pem")), server.url).status == 200
    assert not (tmp_path / "keys.log").exists()


def test_the_configured_proxy_is_asked_for_a_tunnel_and_never_for_loopback() -> None:
    refusal = saying(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    with HostileServer(refusal) as proxy, HostileServer(saying(answer(b"{}"))) as issuer:
        http = SystemHttp(proxy=f"http://127.0.0.1:{proxy.port}")
        assert _get(http, issuer.url).status == 200
        assert proxy.accepted == 0
        with pytest.raises(IssuerUnavailable, match=r"network\.proxy"):
            http.send(
                HttpRequest("POST", "https://issuer.example/token", {"Authorization": "canary"}, b"canary"), timeout=PATIENT
            )
    assert proxy.requests[0].startswith(b"CONNECT issuer.example:443 HTTP/1.")
    assert b"canary" not in b"".join(proxy.requests)


def test_a_proxy_that_trickles_ends_at_the_deadline() -> None:
    with HostileServer(trickling(b"HTTP/1.1 200 OK\r\nX-Long: ")) as proxy:
        start = elapsed()
        with pytest.raises(IssuerUnavailable, match="within"):
            _get(SystemHttp(proxy=f"http://127.0.0.1:{proxy.port}"), "https://issuer.example/", timeout=SHORT)
        assert elapsed() - start < SHORT + MARGIN


# ------------------------------------------------------------------------------------------- connections, threads, forks


def test_a_burst_shares_a_connection_and_reports_it_each_time() -> None:
    seen: list[Connection] = []
    with HostileServer(saying(answer(b"{}"))) as server:
        http = SystemHttp()
        for _ in range(3):
            _get(http, server.url, on_connection=seen.append)
    assert server.accepted == 1
    assert seen == [Connection("127.0.0.1", server.port, "127.0.0.1", None)] * 3


def test_a_connection_that_idled_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        http = SystemHttp()
        _get(http, server.url)
        monkeypatch.setattr("credbroker.system.deadline.elapsed", lambda: elapsed() + 2)
        _get(http, server.url)
    assert server.accepted == 2


def test_threads_send_at_once_and_each_gets_its_own_answer() -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        http = SystemHttp()
        barrier = threading.Barrier(8)

        def ask(_: int) -> int:
            barrier.wait(10)
            return _get(http, server.url).status

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [200] * 8


def test_a_forked_child_makes_connections_of_its_own_and_leaves_the_parent_s_alone(tmp_path: Path) -> None:
    text = """
import os, sys
from credbroker.context import HttpRequest
from credbroker.system.http import SystemHttp
http = SystemHttp(ca_file=sys.argv[2])
def ask(): return http.send(HttpRequest("GET", sys.argv[1]), timeout=10).status
assert ask() == 200
child = os.fork()
if child == 0:
    assert http._transport is None and len(http._abandoned) == 1
    sys.exit(0 if ask() == 200 else 1)   # an exit that runs every finalizer
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert http._abandoned == []
assert ask() == 200                      # on the first connection: the child has not ended its TLS session
"""
    with HostileServer(saying(answer(b"{}")), tls=server_context(tmp_path)) as server:
        command = [sys.executable, "-W", "error", "-c", text, server.url, str(tmp_path / "ca.pem")]
        subprocess.run(command, check=True, timeout=60, env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert len(server.requests) == 3
    assert server.accepted == 2


def test_what_is_dropped_leaves_no_open_socket(recwarn: pytest.WarningsRecorder) -> None:
    with HostileServer(saying(answer(b"{}"))) as server:
        http = SystemHttp()
        _get(http, server.url)
        del http
        gc.collect()
    assert list(recwarn) == []


def test_the_request_is_in_no_frame_that_an_error_keeps() -> None:
    request = HttpRequest("POST", f"http://127.0.0.1:{_closed_port()}/", {"Authorization": "canary"}, b"canary")
    with pytest.raises(IssuerUnavailable) as caught:
        SystemHttp().send(request, timeout=PATIENT)
    frames = [entry.frame.f_locals for entry in caught.traceback[1:]]
    assert frames
    assert "canary" not in repr(frames)
    assert caught.value.__context__ is None
