"""A client's certificate in TLS: who sees it, what refuses it, and that neither it nor its key is left lying anywhere."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.servers.certificates import server_context
from tests.servers.hostile import HostileServer, answer, saying
from tests.servers.oidc.identities import Identity, identity

from credbroker.context import ClientCertificate, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable
from credbroker.system import http as module
from credbroker.system.client_certificate import present
from credbroker.system.http import SystemHttp

PATIENT = 10.0


class Server(HostileServer):
    """Notes the certificate that each connection presented, None where it presented none."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.presented: list[str | None] = []
        super().__init__(saying(answer(b"{}")), tls=tls)

    def _converse(self, connection: object) -> None:
        shown = connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
        self.presented.append(ssl.DER_cert_to_PEM_cert(shown) if shown else None)
        super()._converse(connection)  # type: ignore[arg-type]


@pytest.fixture
def asking(tmp_path: Path) -> ssl.SSLContext:
    """A server's context that wants a certificate of the authority in ``tmp_path``, and takes a client without one."""
    context = server_context(tmp_path)
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _pair(own: Identity) -> ClientCertificate:
    return ClientCertificate(SecretStr(own.chain), SecretStr(own.key))


def _http(folder: Path) -> SystemHttp:
    return SystemHttp(ca_file=str(folder / "ca.pem"))


def _get(http: SystemHttp, url: str, certificate: ClientCertificate | None) -> HttpResponse:
    return http.send(HttpRequest("GET", url, client_certificate=certificate), timeout=PATIENT)


def _refused(http: SystemHttp, url: str, certificate: ClientCertificate | None) -> CredbrokerError:
    with pytest.raises(CredbrokerError) as caught:
        _get(http, url, certificate)
    assert caught.value.__context__ is None
    assert "PRIVATE KEY" not in repr([entry.frame.f_locals for entry in caught.traceback[1:]])
    return caught.value


def test_the_certificate_of_the_request_is_presented(asking: ssl.SSLContext, tmp_path: Path) -> None:
    own = identity(tmp_path, "one", vouched=True)
    with Server(asking) as server:
        assert _get(_http(tmp_path), server.url, _pair(own)).status == 200
    assert server.presented == [own.chain]


def test_no_connection_is_shared_between_two_certificates_or_with_none(asking: ssl.SSLContext, tmp_path: Path) -> None:
    one, two = (identity(tmp_path, name, vouched=True) for name in ("one", "two"))
    http = _http(tmp_path)
    with Server(asking) as server:
        for pair in (None, _pair(one), _pair(two), None, _pair(one), _pair(two)):
            _get(http, server.url, pair)
    assert server.presented == [None, one.chain, two.chain]


def test_a_renewed_certificate_has_new_connections(asking: ssl.SSLContext, tmp_path: Path) -> None:
    http = _http(tmp_path)
    with Server(asking) as server:
        made = [identity(tmp_path, "one", vouched=True) for _ in range(2)]
        for own in made:
            _get(http, server.url, _pair(own))
    assert server.presented == [own.chain for own in made]


def test_few_certificates_are_kept_and_none_as_text(asking: ssl.SSLContext, tmp_path: Path) -> None:
    http = _http(tmp_path)
    with Server(asking) as server:
        pairs = [_pair(identity(tmp_path, f"number-{number}", vouched=True)) for number in range(10)]
        for pair in (*pairs, pairs[-1], pairs[0]):
            _get(http, server.url, pair)
    assert len(server.presented) == 11
    assert len(http._certified) == module._MOST_CERTIFICATES
    assert "PRIVATE KEY" not in repr(vars(http))


def test_a_chain_is_presented_whole(asking: ssl.SSLContext, tmp_path: Path) -> None:
    own = identity(tmp_path, "one", vouched=True)
    chain = ClientCertificate(SecretStr(own.chain + (tmp_path / "ca.pem").read_text()), SecretStr(own.key))
    with Server(asking) as server:
        assert _get(_http(tmp_path), server.url, chain).status == 200
    assert server.presented == [own.chain]


def test_nothing_is_written_and_no_descriptor_stays_open(asking: ssl.SSLContext, tmp_path: Path) -> None:
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.append(str(arguments[0]))

    own = _pair(identity(tmp_path, "one", vouched=True))
    http = _http(tmp_path)
    with Server(asking) as server:
        _get(http, server.url, None)
        sys.addaudithook(hook)
        before = {entry.name for entry in Path("/proc/self/fd").iterdir()}
        http._ready_with(own)
        after = {entry.name for entry in Path("/proc/self/fd").iterdir()}
        watching = False
    assert opened == []
    assert after <= before


def test_a_process_that_nobody_may_look_into_presents_it_too(asking: ssl.SSLContext, tmp_path: Path) -> None:
    own = identity(tmp_path, "one", vouched=True)
    (tmp_path / "one.key").write_text(own.key)
    text = """
import ctypes, sys
from pathlib import Path
from pydantic import SecretStr
from credbroker.context import ClientCertificate, HttpRequest
from credbroker.system.http import SystemHttp
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0   # PR_SET_DUMPABLE: what is below /proc belongs to root from now on
folder = Path(sys.argv[2])
pair = ClientCertificate(*(SecretStr((folder / name).read_text()) for name in ("one.pem", "one.key")))
http = SystemHttp(ca_file=str(folder / "ca.pem"))
assert http.send(HttpRequest("GET", sys.argv[1], client_certificate=pair), timeout=10).status == 200
"""
    with Server(asking) as server:
        command = [sys.executable, "-c", text, server.url, str(tmp_path)]
        subprocess.run(command, check=True, timeout=60, env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert server.presented == [own.chain]


# ----------------------------------------------------------------------------------------------------------- what is refused


def test_over_plain_http_nothing_is_sent(tmp_path: Path) -> None:
    own = _pair(identity(tmp_path, "one", vouched=False))
    with HostileServer(saying(answer(b"{}"))) as server:
        error = _refused(SystemHttp(), server.url, own)
    assert isinstance(error, ConfigurationError)
    assert "presents no client certificate: use https" in str(error)
    assert server.requests == []


def test_a_key_of_another_certificate_is_refused_before_anything_is_sent(asking: ssl.SSLContext, tmp_path: Path) -> None:
    one, two = (identity(tmp_path, name, vouched=True) for name in ("one", "two"))
    with Server(asking) as server:
        error = _refused(_http(tmp_path), server.url, ClientCertificate(SecretStr(one.chain), SecretStr(two.key)))
    assert isinstance(error, ConfigurationError)
    assert "credentials.certificate_key is not the key of credentials.certificate" in str(error)
    assert server.accepted == 0


@pytest.mark.parametrize(("chain", "key"), [("canary", None), (None, "canary"), ("", ""), (None, "encrypted")])
def test_what_is_no_pair_is_refused_and_never_shown(
    chain: str | None, key: str | None, asking: ssl.SSLContext, tmp_path: Path
) -> None:
    from tests.unit.providers.fake_issuer import loaded, pem

    own = identity(tmp_path, "one", vouched=True)
    held = pem(loaded(own.key), b"canary") if key == "encrypted" else own.key if key is None else key
    pair = ClientCertificate(SecretStr(own.chain if chain is None else chain), SecretStr(held))
    with Server(asking) as server:
        error = _refused(_http(tmp_path), server.url, pair)
    assert isinstance(error, ConfigurationError)
    assert "must be PEM, the key without a passphrase" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_does_not_take_the_certificate_denies_the_issue(
    version: ssl.TLSVersion, asking: ssl.SSLContext, tmp_path: Path
) -> None:
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.maximum_version = version
    with Server(asking) as server:
        error = _refused(_http(tmp_path), server.url, _pair(identity(tmp_path, "stranger", vouched=False)))
    assert isinstance(error, IssueDenied)
    assert "(unknown ca): most likely it does not take the client certificate" in str(error)
    assert not error.grant_denied


@pytest.mark.parametrize(
    ("version", "kind"), [(ssl.TLSVersion.TLSv1_2, IssuerUnavailable), (ssl.TLSVersion.TLSv1_3, IssueDenied)]
)
def test_a_server_that_wants_a_certificate_and_gets_none_is_told_apart(
    version: ssl.TLSVersion, kind: type[CredbrokerError], asking: ssl.SSLContext, tmp_path: Path
) -> None:
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.maximum_version = version
    with Server(asking) as server:
        error = _refused(_http(tmp_path), server.url, None)
    assert isinstance(error, kind)
    assert "wants a client certificate" in str(error)


def test_a_server_that_hangs_up_may_not_take_the_certificate(asking: ssl.SSLContext, tmp_path: Path) -> None:
    class HangingUp(Server):
        def _converse(self, connection: object) -> None:
            connection.close()  # type: ignore[attr-defined]

    own = _pair(identity(tmp_path, "one", vouched=True))
    with HangingUp(asking) as server:
        error = _refused(_http(tmp_path), server.url, own)
    assert isinstance(error, IssuerUnavailable)
    assert "it may be down, or not take the client certificate" in str(error)


def test_a_server_that_is_down_is_not_said_to_refuse_the_certificate(tmp_path: Path) -> None:
    own = _pair(identity(tmp_path, "one", vouched=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = _refused(SystemHttp(), f"https://127.0.0.1:{port}/", own)
    assert isinstance(error, IssuerUnavailable)
    assert "certificate" not in str(error)


def test_an_untrusted_server_is_not_taken_for_a_refused_certificate(tmp_path: Path) -> None:
    own = _pair(identity(tmp_path, "one", vouched=False))
    with HostileServer(saying(answer(b"{}")), tls=server_context(tmp_path)) as server:
        error = _refused(SystemHttp(), server.url, own)
    assert isinstance(error, IssuerUnavailable)
    assert "is not trusted" in str(error)


def test_a_forked_child_drops_the_connections_of_every_certificate(asking: ssl.SSLContext, tmp_path: Path) -> None:
    http = _http(tmp_path)
    with Server(asking) as server:
        _get(http, server.url, _pair(identity(tmp_path, "one", vouched=True)))
    (inherited,) = http._certified.values()
    http._abandon()
    assert (len(http._certified), http._abandoned) == (0, [inherited])


def test_a_child_that_is_forked_meanwhile_has_no_key_among_its_open_files(tmp_path: Path) -> None:
    own = identity(tmp_path, "own", vouched=False)
    verdicts: list[bytes] = []

    class Forking(ssl.SSLContext):
        def load_cert_chain(self, chain: str, key: str, password: str = "") -> None:  # type: ignore[override]
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writing, b"open" if Path(chain).exists() or Path(key).exists() else b"closed")
                os._exit(0)
            os.close(writing)
            verdicts.append(os.read(reading, 10))
            os.close(reading)
            os.waitpid(child, 0)

    present(ClientCertificate(SecretStr(own.chain), SecretStr(own.key)), Forking(ssl.PROTOCOL_TLS_CLIENT))
    assert verdicts == [b"closed"]
    left = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert not any("memfd:credbroker" in path for path in left)
