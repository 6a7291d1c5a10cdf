"""Attacks on a running sidecar, byte by byte: whoever should get nothing gets nothing, and the others are served on."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from credbroker.sidecar.guard import LARGEST_HEADERS
from tests.servers.sidecars import READ_LAKE, SECRET, TOKEN, Served, reply_of, request_bytes, serving

PATH = "/lake-read/aws-container"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    bindings = {
        **READ_LAKE["bindings"],
        "polaris": {"catalog": "polaris", "protocols": ["oauth2-token", "azure-imds", "azure-app-service"]},
        "metadata": {"catalog": "polaris", "protocols": ["gce-metadata"]},
    }
    with serving({"bindings": bindings, "requests_per_second": 100_000}) as one:
        yield one


def refused(served: Served, raw: bytes, *statuses: int) -> None:
    """Refused with one of the statuses, or cut off; and not a byte of a credential in what came."""
    reply = served.send(raw)
    if reply is not None:
        assert reply.status in statuses, (reply.status, reply.body)
        assert SECRET.encode() not in reply.body
        assert TOKEN.encode() not in reply.body
    assert served.get(PATH, served.bearer("lake-read")).status == 200


def test_the_bearer_of_the_binding_opens_it_and_no_other_does(served: Served) -> None:
    assert served.get(PATH, served.bearer("lake-read")).json["AccessKeyId"].startswith("ASIA")
    assert served.get(PATH, {"Authorization": served.token("lake-read")}).status == 200  # verbatim, as AWS's SDKs send it
    for name in ("polaris", "status", "metadata"):
        assert served.get(PATH, served.bearer(name)).status == 401
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer \xff\xfe"}):
        reply = served.get(PATH, headers)
        assert reply.status == 401
        assert "canary" not in reply.body.decode()


def test_the_status_token_opens_the_pages_and_vends_nothing(served: Served) -> None:
    assert served.get("/status").status == 401
    assert served.get("/metrics").status == 401
    assert served.get("/status", served.bearer("lake-read")).status == 401
    assert served.get("/status", served.bearer("status")).json["bindings"][0]["name"] == "lake-read"
    metrics = served.get("/metrics", served.bearer("status"))
    assert metrics.status == 200
    assert b'credbroker_binding_ready{binding="lake-read"} 1.0' in metrics.body


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "169.254.169.254", "10.0.0.1", "localhost@evil", ""],
)
def test_a_name_that_was_rebound_to_loopback_is_refused(served: Served, host: str) -> None:
    refused(served, request_bytes("GET", PATH, {"Host": host, **served.bearer("lake-read")}), 400, 403)


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "same-origin"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
def test_what_a_browser_or_a_proxy_sends_is_refused(served: Served, header: dict[str, str]) -> None:
    refused(served, request_bytes("GET", PATH, {"Host": "127.0.0.1", **served.bearer("lake-read"), **header}), 403)


@pytest.mark.parametrize(
    "target",
    [
        "/lake-read/aws-container/",
        "//lake-read/aws-container",
        "/lake-read/../lake-read/aws-container",
        "/lake-read/aws%2dcontainer",
        "/LAKE-READ/aws-container",
        "/lake-read/aws-container;x=1",
        "/lake-read/aws-container%00",
        "http://evil.example/lake-read/aws-container",
        "/lake-read/oauth2-token",
        "/",
        "*",
    ],
)
def test_only_the_exact_paths_are_answered(served: Served, target: str) -> None:
    refused(served, request_bytes("GET", target, {"Host": "127.0.0.1", **served.bearer("lake-read")}), 400, 403, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_another_method_is_refused(served: Served, method: str) -> None:
    # An answer to HEAD has the length of a body, and none.
    headers = {"Host": "127.0.0.1", "Connection": "close", **served.bearer("lake-read")}
    reply = served.send(request_bytes(method, PATH, headers))
    assert reply is None or reply.status in (400, 405)


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length : 5",
        "Host: evil.example",
        "Authorization: Bearer x",
        " folded: header",
        "bad header: x",
        "no-colon",
        "nul\x00: x",
    ],
)
def test_smuggling_is_refused(served: Served, headers: str) -> None:
    head = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.token('lake-read')}\r\n"
    smuggled = f"0\r\n\r\nGET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    # Folded onto the token (RFC 9112 section 5.2), a line makes it another one.
    refused(served, f"{head}{headers}\r\n\r\n{smuggled}".encode("latin-1"), 400, 401)


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n"]
)
def test_what_is_no_http_1_1_is_refused(served: Served, raw: bytes) -> None:
    refused(served, raw, 400)


def test_http_1_0_and_a_request_without_a_host_are_refused(served: Served) -> None:
    bearer = f"Authorization: Bearer {served.token('lake-read')}\r\n\r\n"
    refused(served, f"GET {PATH} HTTP/1.0\r\nHost: 127.0.0.1\r\n{bearer}".encode(), 400)
    refused(served, f"GET {PATH} HTTP/1.1\r\n{bearer}".encode(), 400)


def test_oversize_is_refused(served: Served) -> None:
    filler = "x" * (LARGEST_HEADERS + 1)
    refused(served, request_bytes("GET", PATH, {"Host": "127.0.0.1", "X": filler}), 400, 431)
    refused(served, request_bytes("GET", f"{PATH}?{'x' * 8000}", {"Host": "127.0.0.1", **served.bearer("lake-read")}), 414)
    for length in ("16385", "999999999999"):
        head = request_bytes(
            "POST",
            "/polaris/oauth2-token",
            {"Host": "127.0.0.1", "Content-Type": "application/x-www-form-urlencoded", "Content-Length": length},
        )
        refused(served, head, 413)
    refused(served, request_bytes("GET", PATH, {"Host": "127.0.0.1", "Content-Length": "3"}) + b"abc", 400)


def test_no_answer_redirects_or_opens_to_other_origins(served: Served) -> None:
    for path in (PATH, "/healthz", "/nothing", "/readyz"):
        reply = served.get(path)
        assert "location" not in reply.headers
        assert not any(name.startswith("access-control") for name in reply.headers)
        assert "server" not in reply.headers


def test_a_slow_client_is_cut_off_and_holds_up_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.SLOWEST_REQUEST", 0.3)
    with served.connect() as silent, served.connect() as headers, served.connect() as body, served.connect() as after:
        headers.sendall(b"GET / HTTP/1.1\r\nHost: 127.0")
        body.sendall(
            request_bytes(
                "POST",
                "/polaris/oauth2-token",
                {"Host": "127.0.0.1", "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "10"},
            )
            + b"gr"
        )
        # One that was answered, and then sends half of its next request.
        after.sendall(request_bytes("GET", PATH, {"Host": "127.0.0.1", **served.bearer("lake-read")}))
        reply = reply_of(after)
        assert reply is not None
        assert reply.status == 200
        after.sendall(b"GET /hea")
        assert served.get(PATH, served.bearer("lake-read")).status == 200
        for sock in (silent, headers, body, after):
            assert closed(sock)


def closed(sock: socket.socket) -> bool:
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True  # and not a timeout, which the socket's own would raise


def test_an_idle_connection_may_ask_again_after_its_deadline(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.SLOWEST_REQUEST", 0.2)
    with served.connect() as idle, served.connect() as silent:
        request = request_bytes("GET", PATH, {"Host": "127.0.0.1", **served.bearer("lake-read")})
        idle.sendall(request)
        assert reply_of(idle) is not None
        assert closed(silent)  # its deadline is later than that of the other would have been
        idle.sendall(request)
        assert reply_of(idle) is not None


def test_two_hundred_connections_are_served_at_once(served: Served) -> None:
    bearer = served.bearer("lake-read")
    sockets = [served.connect() for _ in range(200)]
    try:
        for sock in sockets:
            sock.sendall(request_bytes("GET", PATH, {"Host": "127.0.0.1", **bearer}))
        replies = [reply_of(sock) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
    assert [reply.status if reply else None for reply in replies] == [200] * 200


def test_a_runaway_reader_is_slowed_down() -> None:
    with serving({**READ_LAKE, "requests_per_second": 1}) as one:
        bearer = one.bearer("lake-read")
        replies = [one.get(PATH, bearer) for _ in range(30)]
        slowed = [reply for reply in replies if reply.status == 429]
        assert {reply.status for reply in replies} == {200, 429}
        assert {reply.headers["retry-after"] for reply in slowed} == {"1"}


def test_a_rebound_or_forged_request_gets_nothing_without_the_peers_uid_either(served: Served) -> None:
    # Protocols without a token: only the header of their own, and the kernel's word on who has connected.
    ok = served.get("/computeMetadata/v1/instance/service-accounts/default/token", {"Metadata-Flavor": "Google"})
    assert ok.status == 200
    assert served.get("/computeMetadata/v1/instance/service-accounts/default/token").status == 403
    imds = "/polaris/azure-imds/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://storage.azure.com"
    assert served.get(imds).status == 400


AS_ANOTHER_USER = """
import encodings.idna, os, socket, sys
os.setgid(65533); os.setgroups([]); os.setuid(65533)
port, unix, token = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def ask(sock, path, *headers):
    head = "\\r\\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers))
    sock.sendall((head + "\\r\\n\\r\\n").encode())
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    return answer.decode()
tcp = lambda: socket.create_connection(("127.0.0.1", port))
google = "/computeMetadata/v1/instance/service-accounts/default/token"
azure = "/polaris/azure-imds/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x"
print("metadata", ask(tcp(), google, "Metadata-Flavor: Google").split()[1])
print("imds", ask(tcp(), azure, "Metadata: true").split()[1])
print("bare", ask(tcp(), "/lake-read/aws-container").split()[1])
try:
    sock = socket.socket(socket.AF_UNIX); sock.connect(unix)
    print("unix", ask(sock, "/lake-read/aws-container").split()[1])
except PermissionError:
    print("unix refused")
try:
    open(os.path.join(os.path.dirname(unix), "lake-read.token")).read()
    print("token read")
except PermissionError:
    print("token refused")
print("with", ask(tcp(), "/lake-read/aws-container", f"Authorization: {token}").split()[1])
"""


def test_another_user_gets_nothing_without_the_token(served: Served) -> None:
    answers = subprocess.run(
        [
            sys.executable,
            "-c",
            AS_ANOTHER_USER,
            str(served.port),
            str(served.sidecar.socket_path),
            served.token("lake-read"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split("\n")
    assert answers[:3] == ["metadata 403", "imds 403", "bare 401"]
    assert answers[3] in ("unix refused", "unix 403")
    assert answers[4] == "token refused"
    # With the token, which somebody must have given to that user: it is what opens the binding.
    assert answers[5] == "with 200"


def test_a_leaked_token_opens_nothing_for_another_user_where_the_readers_are_declared() -> None:
    with serving({**READ_LAKE, "readers": {"uids": [65532]}}) as one:
        script = AS_ANOTHER_USER.replace("/polaris/", "/lake-read/")
        given = [str(one.port), str(one.sidecar.socket_path), one.token("lake-read")]
        answers = subprocess.run(
            [sys.executable, "-c", script, *given], stdout=subprocess.PIPE, text=True, check=True, timeout=60
        ).stdout
        assert "with 403" in answers


def test_many_threads_and_garbage_leave_it_serving(served: Served) -> None:
    def one(number: int) -> int:
        served.send(bytes([number % 256]) * 64 + b"\r\n\r\n")
        return served.get(PATH, served.bearer("lake-read")).status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(160))) == {200}


def test_one_user_cannot_take_all_connections(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.MOST_OF_ONE_READER", 20)
    bearer = served.bearer("lake-read")
    held = [served.connect() for _ in range(20)]
    try:
        for sock in held:  # answered, so each of them counts
            sock.sendall(request_bytes("GET", PATH, {"Host": "127.0.0.1", **bearer}))
            assert reply_of(sock) is not None
        for unix in (False, True):
            with served.connect(unix=unix) as one_more:
                assert closed(one_more)
    finally:
        for sock in held:
            sock.close()


HOLDS_CONNECTIONS = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65533); os.setuid(65533)
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(30)]
print("held", flush=True)
sys.stdin.read()
"""


def test_strangers_leave_enough_connections_to_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.MOST_OF_ONE_STRANGER", 10)
    monkeypatch.setattr("credbroker.sidecar.server.MOST_CONNECTIONS", 20)
    with (
        serving(READ_LAKE) as one,
        subprocess.Popen(
            [sys.executable, "-c", HOLDS_CONNECTIONS, str(one.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as stranger,
    ):
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "held\n"
        assert [one.get(PATH, one.bearer("lake-read")).status for _ in range(5)] == [200] * 5
        stranger.kill()


KEEPS_ASKING = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65532); os.setuid(65532)
request = ("GET /lake-read/aws-container HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {sys.argv[2]}")
held, statuses = [], []
for _ in range(30):
    held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    held[-1].sendall(("\\r\\n".join(request) + "\\r\\n\\r\\n").encode())
    statuses.append(held[-1].recv(65536).split()[1].decode())
print(set(statuses))
"""


def test_a_stranger_with_the_token_is_a_reader(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.MOST_OF_ONE_STRANGER", 5)
    given = [sys.executable, "-c", KEEPS_ASKING, str(served.port), served.token("lake-read")]
    told = subprocess.run(given, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert told == "{'200'}\n"


def test_who_reads_no_answer_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.sidecar.server.SLOWEST_REQUEST", 0.3)
    request = request_bytes("GET", PATH, {"Host": "127.0.0.1", **served.bearer("lake-read")})
    with served.connect() as deaf:
        deaf.setblocking(False)
        sent, cut = 0, False
        pause = threading.Event()
        for _ in range(1000):
            try:
                sent += deaf.send(request * 100)
            except BlockingIOError:
                pause.wait(0.02)
            except (ConnectionResetError, BrokenPipeError):
                cut = True
                break
        assert cut, sent
    assert served.get(PATH, served.bearer("lake-read")).status == 200


def test_garbage_leaves_no_line_for_each_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        served.send(b"garbage\r\n\r\n")
        served.send(request_bytes("GET", PATH, {"Host": "127.0.0.1", "Connection": "Upgrade", "Upgrade": "websocket"}))
    assert len(caplog.records) < 20


def test_who_is_refused_holds_no_connection(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(request_bytes("GET", PATH, {"Host": "127.0.0.1"}))
        reply = reply_of(sock)
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (401, "close")
        assert closed(sock)
