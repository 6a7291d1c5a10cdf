"""The one way to an issuer: HTTP without redirects, without anything ambient, with a deadline for the whole exchange."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing
from urllib.parse import urlsplit

import requests

from credbroker.context import ClientCertificate, Clock, Connection, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, MalformedResponse
from credbroker.hosts import host_matches, is_link_local, is_loopback, is_metadata_service
from credbroker.system.clock import SystemClock
from credbroker.system.deadline import Exchange, current
from credbroker.system.faults import TRANSPORT_ERRORS, explained
from credbroker.system.process import in_forked_child
from credbroker.system.transport import Transport

LARGEST_BODY = 1024 * 1024
"""Bytes, after decompression. A token or a table's credentials are a few thousand."""
_CHUNK = 64 * 1024
_MOST_CERTIFICATES = 8
_NAMING_KEY = os.urandom(32)


class SystemHttp:
    """The real ``Http``, safe to share between threads and across a fork.

    ``proxy`` is the URL of the one proxy to use, for all but loopback; ``ca_file`` a PEM bundle to trust instead of
    certifi's; ``allowed_hosts`` the only hosts to ask: exact names, or ``*.amazonaws.com`` for any name below. Proxies,
    certificates, netrc and key logs that the environment names are not looked at, and no cookie is kept. Only the wall
    clock of ``clock`` is read, for the response's ``sent`` and ``received``.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        ca_file: str | None = None,
        allowed_hosts: Sequence[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._proxy = proxy
        self._ca_file = ca_file
        self._allowed_hosts = None if allowed_hosts is None else tuple(allowed_hosts)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._certified: OrderedDict[bytes, Transport] = OrderedDict()
        self._abandoned: list[Transport] = []
        _instances.add(self)

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        """Send ``request`` once and read the whole answer, all within ``timeout`` seconds.

        Any status but a redirect is returned, 4xx and 5xx too. Raises ``IssuerUnavailable``: no name, no connection, no
        trusted certificate, no complete answer in time. ``MalformedResponse``: a redirect, over 1 MiB, no HTTP.
        ``ConfigurationError``: a host that ``network.allowed_hosts`` does not list, plain http to another machine, or with a
        client certificate, an unreadable ``ca_file``, a certificate and a key that are no pair. ``IssueDenied``: a client
        certificate that is refused, or missing, in the handshake.
        """
        outcome = self._outcome(request, timeout, allow_insecure=allow_insecure, on_connection=on_connection)
        if isinstance(outcome, CredbrokerError):
            raise outcome
        return outcome

    def _outcome(
        self,
        request: HttpRequest,
        timeout: float,
        *,
        allow_insecure: bool,
        on_connection: Callable[[Connection], None] | None,
    ) -> HttpResponse | CredbrokerError:
        # An error is returned, to be raised by the caller: raised here, its traceback would keep the frames below, and with
        # them the secret in the request, alive for as long as anyone keeps the error.
        place = "the issuer"
        token = None
        try:
            prepared, host, port = _prepared(request, allow_insecure=allow_insecure)
            place = host if port == 443 else f"{host}:{port}"
            self._check_host(host, link_local=request.link_local)
            exchange = Exchange((host, port), timeout, self._clock.now, on_connection)
            token = current.set(exchange)
            return self._exchange(prepared, exchange, host, request.client_certificate)
        except CredbrokerError as error:
            return error.fresh()
        except TRANSPORT_ERRORS as error:
            return explained(error, place, timeout, certified=request.client_certificate is not None)
        finally:
            if token is not None:
                current.reset(token)

    def _check_host(self, host: str, *, link_local: bool) -> None:
        if link_local and not (is_metadata_service(host) or is_link_local(host) or is_loopback(host)):
            # It goes past the proxy and the allowed hosts: a variable of the environment may not lead it elsewhere.
            raise ConfigurationError(f"{host!r} is no address of a metadata service: nothing was sent to it")
        if link_local:
            return
        if self._allowed_hosts is not None and not host_matches(host, self._allowed_hosts):
            raise ConfigurationError(f"the host {host!r} is not in network.allowed_hosts: nothing was sent to it")

    def _exchange(
        self,
        prepared: requests.PreparedRequest,
        exchange: Exchange,
        host: str,
        certificate: ClientCertificate | None,
    ) -> HttpResponse:
        transport = self._ready() if certificate is None else self._ready_with(certificate)
        # Through a proxy, loopback would be the proxy's own, and plain http would show it the secret.
        # A metadata service that a proxy reaches is the proxy's: its identity, not ours.
        own = is_loopback(host) or is_metadata_service(host) or is_link_local(host)
        proxies = {"http": self._proxy, "https": self._proxy} if self._proxy and not own else {}
        answer = transport.send(prepared, stream=True, timeout=exchange.remaining(), verify=True, proxies=proxies)
        with closing(answer):
            received = self._clock.now()
            if 300 <= answer.status_code < 400:
                raise MalformedResponse(
                    f"{host} answered with a redirect (HTTP {answer.status_code}), which is never followed, since it decides"
                    " where the secret goes: configure the final URL"
                )
            headers = {name.lower(): value for name, value in answer.headers.items()}
            body = _decoded(_read(answer, host), headers.get("content-encoding", ""), host)
            return HttpResponse(answer.status_code, headers, body, exchange.sent, received)

    def check(self) -> None:
        """Raise ``ConfigurationError`` if the certificates to trust cannot be read. Nothing is sent."""
        self._ready()

    def _ready(self) -> Transport:
        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._ca_file)
            return self._transport

    def _ready_with(self, certificate: ClientCertificate) -> Transport:
        """The transport of that very pair: its connections are nobody else's, and a renewed pair has new ones."""
        key = _name_of(certificate)
        with self._lock:
            transport = self._certified.pop(key, None) or Transport(self._ca_file, certificate)
            self._certified[key] = transport
            # What is not used any more holds a private key. A request that is under way keeps its connection.
            dropped = [self._certified.popitem(last=False)[1] for _ in range(len(self._certified) - _MOST_CERTIFICATES)]
        for one in dropped:
            one.close()
        return transport

    def _abandon(self) -> None:
        # Kept, not closed and not collected: its TLS sessions go on in the parent, and its locks may be held by threads that
        # do not exist here.
        self._lock = threading.Lock()
        if self._transport is not None:
            self._abandoned.append(self._transport)
        self._transport = None
        self._abandoned.extend(self._certified.values())
        self._certified = OrderedDict()


_instances: weakref.WeakSet[SystemHttp] = weakref.WeakSet()


def _abandon_all() -> None:
    for instance in list(_instances):
        instance._abandon()  # noqa: SLF001 - its own module's


in_forked_child(_abandon_all)


def _name_of(certificate: ClientCertificate) -> bytes:
    """A keyed hash, so that no map holds a private key as text."""
    digest = hashlib.blake2b(key=_NAMING_KEY, digest_size=16)
    for pem in (certificate.chain, certificate.key):
        raw = pem.get_secret_value().encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.digest()


def _prepared(request: HttpRequest, *, allow_insecure: bool) -> tuple[requests.PreparedRequest, str, int]:
    """What will be sent, and the host and port it goes to, by the very parse that connects."""
    headers = {"user-agent": "credbroker", "accept-encoding": "identity"}
    headers.update({name.lower(): value for name, value in request.headers.items()})
    try:
        prepared = requests.Request(request.method, request.url, headers=headers, data=request.body).prepare()
        parts = urlsplit(prepared.url or "")
        host, port = parts.hostname, parts.port
    except (requests.RequestException, ValueError):
        raise ConfigurationError("an issuer's URL, or a header for it, is malformed") from None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError("an issuer's URL must be https://, with a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"the URL for {host!r} carries userinfo: name the user by client_id and a secret_ref")
    if parts.scheme == "http" and not (allow_insecure or is_loopback(host) or request.link_local):
        raise ConfigurationError(f"plain http to {host!r} would show the secret on the way: use https, or allow_insecure")
    if parts.scheme == "http" and request.client_certificate is not None:
        raise ConfigurationError(f"plain http to {host!r} presents no client certificate: use https")
    return prepared, host, port or (443 if parts.scheme == "https" else 80)


def _read(answer: requests.Response, host: str) -> bytes:
    stated = answer.headers.get("content-length", "")
    body = b""
    if not (stated.isdecimal() and len(stated) > 7):
        while len(body) <= LARGEST_BODY:
            chunk: bytes = answer.raw.read(_CHUNK, decode_content=False)
            if not chunk:
                return body
            body += chunk
    raise MalformedResponse(f"{host} answered with more than 1 MiB: that is no credential")


def _decoded(body: bytes, encoding: str, host: str) -> bytes:
    """Undo a compression that was not asked for, within the same bound."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise MalformedResponse(f"{host} answered in a content encoding that was not asked for")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, LARGEST_BODY + 1)
    except zlib.error:
        raise MalformedResponse(f"{host} answered with broken gzip") from None
    if len(plain) > LARGEST_BODY:
        raise MalformedResponse(f"{host} answered with more than 1 MiB, compressed: that is no credential")
    if not inflater.eof:
        raise MalformedResponse(f"{host} answered with broken gzip")
    return plain
