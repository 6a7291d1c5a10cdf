"""A token endpoint that misbehaves, over a real socket: the right error, in time, and nothing secret in it."""

from __future__ import annotations

import gzip
import itertools
import json
import traceback
from datetime import timedelta
from types import TracebackType

import pytest
from pydantic import SecretStr

from credbroker import Broker
from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import CredbrokerError, InsufficientLifetime, IssuerUnavailable, MalformedResponse
from credbroker.profile import CatalogProfile, CredentialSettings
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.system.clock import SystemClock, elapsed
from credbroker.system.http import SystemHttp
from credbroker.testing import ManualClock
from tests.servers.hostile import HostileServer, Pieces, Script, answer, hanging, pouring, saying, trickling

SECRET = "canary-of-the-client"
TOKEN = "canary-of-the-issuer"
TIMEOUT = 0.5
MARGIN = 5.0
"""Seconds: what a busy machine may add."""
MEBIBYTE = 1024 * 1024
REQUEST = CredentialRequest(kind="catalog", profile="production")


class Vault:
    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(SECRET)


def _context(url: str, *, timeout: float = TIMEOUT, default_ttl: timedelta | None = None) -> Context:
    settings = CredentialSettings(
        mode="oauth2",
        token_url=url,
        client_id="svc",
        client_secret=SecretReference(secret_ref="oauth"),
        default_ttl=default_ttl,
    )
    return Context(
        clock=SystemClock(),
        http=SystemHttp(),
        secrets=Vault(),
        profile=CatalogProfile(name="production", credentials=settings),
        remaining=lambda: timeout,
    )


def _issue(script: Script, *, timeout: float = TIMEOUT, default_ttl: timedelta | None = None) -> AccessToken:
    with HostileServer(script) as server:
        return OAuth2Provider().issue(REQUEST, _context(server.url, timeout=timeout, default_ttl=default_ttl))


def _fault(script: Script, *, timeout: float = TIMEOUT) -> CredbrokerError:
    """The error, after a look at all that it shows and keeps, and at the time that it took."""
    start = elapsed()
    with pytest.raises(CredbrokerError) as caught:
        _issue(script, timeout=timeout)
    assert elapsed() - start < timeout + MARGIN
    error = caught.value
    shown = "".join([str(error), repr(error), *traceback.format_exception(error), *_locals(error.__traceback__)])
    assert SECRET not in shown
    assert TOKEN not in shown
    assert error.__context__ is None
    assert error.__cause__ is None
    return error


def _locals(trace: TracebackType | None) -> list[str]:
    shown = []
    while trace is not None:
        if "credbroker" in trace.tb_frame.f_globals.get("__name__", ""):
            shown.append(repr(trace.tb_frame.f_locals))
        trace = trace.tb_next
    return shown


def _reply(expires_in: str) -> bytes:
    return answer(f'{{"access_token": "{TOKEN}", "token_type": "bearer", "expires_in": {expires_in}}}'.encode())


ECHO = json.dumps({"error": SECRET, "error_description": SECRET, "access_token": TOKEN}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
UNAVAILABLE: dict[str, Script] = {
    "500": saying(answer(ECHO, status="500 Internal Server Error")),
    "503 in a page": saying(answer(b"<html>" + TOKEN.encode(), status="503 Busy", headers=("Retry-After: 3",))),
    "429": saying(answer(ECHO, status="429 Too Many Requests")),
    "no answer": hanging(),
    "half an answer": hanging(HEAD + b"Content-Length: 500\r\n\r\n" + ECHO),
    "a trickle in the body": trickling(HEAD + b"Content-Length: 500\r\n\r\n" + ECHO),
    "a byte a second in the body": trickling(HEAD + b"\r\n", every=1.0),
    "a trickle in the headers": trickling(HEAD + b"X-Echo: "),
    "a byte a second in the headers": trickling(HEAD + b"X-Echo: ", every=1.0),
    "closed without a word": saying(),
    "closed half-way": saying(HEAD + b"Connection: close\r\nContent-Length: 500\r\n\r\n" + ECHO),
}
MALFORMED: dict[str, Script] = {
    "garbage": saying(b"\x00\xff garbage " + TOKEN.encode() + b"\r\n\r\n"),
    "garbage in a body": saying(answer(b"\x00\xff" + ECHO)),
    "a page": saying(answer(b"<html>" + TOKEN.encode())),
    "an empty body": saying(answer(b"")),
    "a list": saying(answer(b"[" + ECHO + b"]")),
    "a bomb of brackets": saying(answer(b"[" * MEBIBYTE)),
    "100 MiB, announced": saying(HEAD + b"Content-Length: 104857600\r\n\r\n" + ECHO),
    "100 MiB, poured": pouring(HEAD + b"\r\n", 100 * MEBIBYTE),
    "100 MiB, a number too long to be one": saying(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"),
    "a gzip bomb": saying(answer(gzip.compress(bytes(100 * MEBIBYTE)), headers=("Content-Encoding: gzip",))),
    "another encoding": saying(answer(ECHO, headers=("Content-Encoding: br",))),
    "404 in a page": saying(answer(b"<html>" + SECRET.encode(), status="404 Not Found")),
    "a token that begins another header": saying(answer(json.dumps({"access_token": f"{TOKEN}\r\nX: 1"}).encode())),
    "no lifetime at all": saying(answer(json.dumps({"access_token": TOKEN}).encode())),
}


@pytest.mark.parametrize("script", UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
def test_an_issuer_that_does_not_answer_is_unavailable(script: Script) -> None:
    error = _fault(script)
    assert type(error) is IssuerUnavailable
    assert "127.0.0.1" in str(error)
    assert error.retryable


@pytest.mark.parametrize("script", MALFORMED.values(), ids=MALFORMED.keys())
def test_an_answer_that_is_none_is_malformed(script: Script) -> None:
    error = _fault(script, timeout=10.0)
    assert type(error) is MalformedResponse
    assert not error.retryable


@pytest.mark.parametrize(
    "stated", ["-1", "NaN", "Infinity", "1e12", "1000000000000", "true", '"soon"', '"-1"', "[3600]", "{}"]
)
def test_a_lifetime_that_is_no_sane_number_is_malformed(stated: str) -> None:
    assert type(_fault(saying(_reply(stated)))) is MalformedResponse


@pytest.mark.parametrize("stated", ["0", '"0"'])
def test_a_lifetime_of_nothing_is_insufficient(stated: str) -> None:
    assert type(_fault(saying(_reply(stated)))) is InsufficientLifetime


@pytest.mark.parametrize("stated", ["3600", '"3600"', "3600.0"])
def test_a_lifetime_may_be_a_numeric_string(stated: str) -> None:
    token = _issue(saying(_reply(stated)), timeout=10.0)
    assert token.expires_at is not None
    assert timedelta(minutes=59) < token.expires_at - SystemClock().now() <= timedelta(hours=1)


def test_without_a_lifetime_the_profile_s_is_taken() -> None:
    token = _issue(
        saying(answer(json.dumps({"access_token": TOKEN}).encode())), timeout=10.0, default_ttl=timedelta(minutes=5)
    )
    assert token.expires_at is not None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_nothing_to_the_second_host(status: int) -> None:
    with HostileServer(saying(_reply("3600"))) as second:
        error = _fault(saying(answer(b"", status=f"{status} Elsewhere", headers=(f"Location: {second.url}?{SECRET}",))))
    assert type(error) is MalformedResponse
    assert "redirect" in str(error)
    assert str(second.port) not in str(error)
    assert second.accepted == 0


def test_an_issuer_that_comes_back_is_asked_by_the_same_transport() -> None:
    """A fault leaves nothing behind in the connections that the next request would meet."""
    answers = iter([b"\x00\r\n\r\n", HEAD + b"Content-Length: 104857600\r\n\r\n", _reply("3600")])

    def script(server: HostileServer) -> Pieces:
        yield next(answers)

    with HostileServer(script) as server:
        context = _context(server.url, timeout=10.0)
        for _ in range(2):
            with pytest.raises(MalformedResponse):
                OAuth2Provider().issue(REQUEST, context)
        assert OAuth2Provider().issue(REQUEST, context).value.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    "fault", [UNAVAILABLE["500"], MALFORMED["garbage"], saying(_reply("-1"))], ids=["500", "garbage", "-1"]
)
def test_what_was_held_stays_held(fault: Script) -> None:
    scripts = itertools.chain([saying(_reply("3600"))], itertools.repeat(fault))
    clock = ManualClock()
    profile = {"mode": "oauth2", "client_id": "svc", "client_secret": {"secret_ref": "oauth"}}

    def script(server: HostileServer) -> Pieces:
        return next(scripts)(server)

    with HostileServer(script) as server:
        config = {"version": 1, "catalogs": {"production": {"credentials": {**profile, "token_url": server.url}}}}
        context = Context(clock=clock, http=SystemHttp(clock=clock), secrets=Vault())
        with Broker.from_config(config, context=context) as broker:
            source = broker.catalog("production")
            held = source.get()
            clock.advance(3500)
            assert source.get(wait=True) is held
            assert server.accepted > 1 or len(server.requests) > 1
            clock.advance(100)
            with pytest.raises(CredbrokerError) as caught:
                source.get()
    assert type(caught.value) in (IssuerUnavailable, MalformedResponse)
    assert SECRET not in str(caught.value)
    assert TOKEN not in str(caught.value)
