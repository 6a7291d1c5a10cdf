"""``oauth2`` where a certified server says no, or cannot be asked: the right error and remedy, no request too many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers.oidc.clients import EXCHANGE, SCOPES, Client, new_key

from credbroker import Broker, CredentialSource
from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.resolver import Resolver
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from credbroker.testing import ManualClock

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider

ANALYST, ENGINEER, OWNER = SCOPES
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
AN_HOUR = timedelta(hours=1)

Opened = Callable[..., CredentialSource[AccessToken]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def opened(oidc: OidcProvider, tmp_path: Path, clock: ManualClock) -> Iterator[Opened]:
    """The token of a catalog with those ``credentials:``, by a clock that a test may move; ``secrets`` are mounted too."""
    brokers: list[Broker] = []

    def make(block: Mapping[str, Any], **secrets: str) -> CredentialSource[AccessToken]:
        config = oidc.platform(tmp_path, c=block)
        for name, value in secrets.items():
            (tmp_path / name.replace("_", "-")).write_text(value)
        files = Resolver([FilesBackend(str(tmp_path))], Context(environment=SystemEnvironment()))
        http = SystemHttp(ca_file=oidc.authority)
        context = Context(clock=clock, http=http, environment=SystemEnvironment(), secrets=files)
        brokers.append(Broker.from_config(config, context=context))
        return brokers[-1].catalog("c")

    yield make
    for broker in brokers:
        broker.close()


def refusal(kind: type[CredbrokerError], source: CredentialSource[AccessToken], text: str) -> CredbrokerError:
    with pytest.raises(kind, match=text) as caught:
        source.get()
    return caught.value


def denial(source: CredentialSource[AccessToken], text: str, *, grant: bool = False) -> None:
    error = refusal(IssueDenied, source, text)
    assert isinstance(error, IssueDenied)
    assert error.grant_denied is grant
    assert not error.retryable


def exchanging(client: Client, **subject: str) -> dict[str, Any]:
    return client.credentials(grant_type=EXCHANGE, subject_token=subject)


# -- the client is not accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["basic", "post", "secret-jwt"])
def test_a_wrong_secret_is_refused_and_not_presented_again(name: str, oidc: OidcProvider, opened: Opened) -> None:
    wrong = "this is not the secret of that client, though as long"
    source = opened(oidc.client(name).credentials(), **{oidc.client(name).reference: wrong})
    denial(source, r"127\.0\.0\.1 answered HTTP 401 invalid_client: check client_id and the secret")
    # The next caller is answered by the backoff.
    denial(source, "invalid_client")
    assert len(oidc.requests("/token")) == 1


def test_of_two_wrong_secrets_each_is_presented_once(oidc: OidcProvider, opened: Opened) -> None:
    block = oidc.client("basic").credentials(client_secret={"secret_ref": "first", "next": "second"})
    denial(opened(block, first="one that is wrong", second="and another one"), "invalid_client")
    assert len(oidc.requests("/token")) == 2


def test_a_client_that_was_withdrawn_is_told_so(oidc: OidcProvider, opened: Opened) -> None:
    oidc.withdraw("post")
    denial(opened(oidc.client("post").credentials()), "invalid_client: check client_id")


@pytest.mark.parametrize(("name", "kind"), [("rs256", "RS256"), ("es256", "ES256"), ("rs256", "ES256"), ("es256", "RS256")])
def test_a_key_that_the_issuer_does_not_have_is_refused(name: str, kind: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    source = opened(client.credentials(signing_alg=None), **{client.reference: new_key(kind)})
    denial(source, r"invalid_client: .*public half of credentials\.private_key")
    assert len(oidc.requests("/token")) == 1


@pytest.mark.parametrize(
    ("name", "secret", "text"),
    [
        ("rs256", "es256", "is an EC key for ES256, and signing_alg is RS256"),
        ("es256", "rs256", "is an RSA key, and signing_alg is ES256"),
        ("rs256", "basic", "is no private key in PEM"),
        ("tls", "rs256", r"is not the key of credentials\.certificate"),
        ("tls", "basic", "is no private key in PEM"),
    ],
)
def test_a_key_of_the_wrong_type_is_told_before_anything_is_sent(
    name: str, secret: str, text: str, oidc: OidcProvider, opened: Opened
) -> None:
    client = oidc.client(name)
    (wrong,) = oidc.client(secret).secrets.values()
    refusal(ConfigurationError, opened(client.credentials(), **{client.reference: wrong}), text)
    assert oidc.requests() == []


def test_a_certificate_that_the_issuer_does_not_know_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    other = oidc.client("self-signed-tls")
    block = other.credentials(client_id="tls", token_endpoint_auth_method="tls_client_auth")
    denial(opened(block), r"invalid_client: .*credentials\.certificate")


# -- the clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["secret-jwt", "rs256", "es256"])
def test_a_clock_an_hour_behind_is_named_as_the_reason(
    name: str, oidc: OidcProvider, opened: Opened, clock: ManualClock
) -> None:
    clock.jump(-AN_HOUR.total_seconds())
    denial(opened(oidc.client(name).credentials()), "clock is about 60 min behind the issuer's: correct it")
    assert len(oidc.requests("/token")) == 1


@pytest.mark.parametrize(("name", "hours"), [("basic", -1), ("basic", 1), ("rs256", 1)])
def test_a_life_is_counted_by_our_own_clock(
    name: str, hours: int, oidc: OidcProvider, opened: Opened, clock: ManualClock
) -> None:
    clock.jump(hours * AN_HOUR.total_seconds())
    token = opened(oidc.client(name).credentials()).get()
    assert token.expires_at == clock.now() + AN_HOUR


# -- the server is busy, or broken -----------------------------------------------------------------------------------------


def test_a_throttled_client_waits_as_long_as_it_was_told(oidc: OidcProvider, opened: Opened, clock: ManualClock) -> None:
    oidc.fail(1, 429, headers={"retry-after": "7"})
    source = opened(oidc.client("rs256").credentials())
    error = refusal(IssuerUnavailable, source, "HTTP 429: it is asked again later")
    assert (error.retryable, error.retry_after) == (True, timedelta(seconds=7))
    clock.advance(6.9)
    refusal(IssuerUnavailable, source, "HTTP 429")
    assert len(oidc.requests("/token")) == 1
    clock.advance(0.2)
    assert oidc.introspect(source.get().value.get_secret_value())["active"]


def test_a_server_that_fails_is_asked_again_later(oidc: OidcProvider, opened: Opened, clock: ManualClock) -> None:
    client = oidc.client("post")
    oidc.fail(2, 503, body=f'{{"error": "server_error", "error_description": "{client.secret}"}}')
    source = opened(client.credentials())
    for _ in range(2):
        error = refusal(IssuerUnavailable, source, "HTTP 503 server_error: it is asked again later")
        assert str(client.secret) not in str(error)
        clock.advance(3)
    assert source.get().scopes == {ANALYST}
    assert len(oidc.requests("/token")) == 3


# -- what is given is not what was asked -----------------------------------------------------------------------------------


def test_a_wider_scope_than_asked_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    refusal(MalformedResponse, opened(oidc.client("generous").credentials()), r"granted 1 more scope\(s\) than")


# -- discovery -------------------------------------------------------------------------------------------------------------


def test_an_issuer_that_differs_by_a_slash_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    block = oidc.client("basic").credentials(token_url=None, issuer=f"{oidc.issuer}/")
    error = refusal(ConfigurationError, opened(block), "differs by a trailing '/' .* write")
    assert str(error).endswith(f"write {oidc.issuer}")
    assert oidc.requests("/token") == []


def test_an_issuer_of_another_name_gets_no_secret(oidc: OidcProvider, opened: Opened) -> None:
    # The same server by another name: its metadata says 127.0.0.1.
    block = oidc.client("post").credentials(token_url=None, issuer=oidc.issuer.replace("127.0.0.1", "localhost"))
    refusal(ConfigurationError, opened(block), "is not what the issuer calls itself")
    assert oidc.requests("/token") == []


def test_an_issuer_without_metadata_is_told_so(oidc: OidcProvider, opened: Opened) -> None:
    block = oidc.client("basic").credentials(token_url=None, issuer=f"{oidc.issuer}/elsewhere")
    refusal(ConfigurationError, opened(block), r"has no metadata \(HTTP 404\)")


# -- the subject of an exchange --------------------------------------------------------------------------------------------


def test_a_subject_that_is_half_written_is_not_sent(oidc: OidcProvider, opened: Opened, tmp_path: Path) -> None:
    file = tmp_path / "subject.jwt"
    source = opened(exchanging(oidc.client("basic"), file=str(file)))
    refusal(SecretNotFound, source, "could not be read: no such file")
    whole = oidc.subject(resource="https://catalog.example/")
    oidc.reset()
    for half in ("", whole[: whole.rindex(".") + 1], whole[:40]):
        file.write_text(half)
        # A new source: the backoff of the other one would answer.
        refusal(SecretNotFound, opened(exchanging(oidc.client("basic"), file=str(file))), "look at what writes it")
    assert oidc.requests() == []


def test_a_subject_that_was_tampered_with_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    head, body, signature = oidc.subject(resource="https://catalog.example/").split(".")
    source = opened(exchanging(oidc.client("basic"), secret_ref="subject"), subject=f"{head}.{body}.{signature[::-1]}")
    denial(source, "invalid_request: the issuer does not take this subject token")


def test_a_subject_that_is_over_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    oidc.token_lifetime(1)
    subject, poll = oidc.subject(), threading.Event()
    while oidc.introspect(subject)["active"]:
        poll.wait(0.05)
    block = exchanging(oidc.client("basic"), secret_ref="subject") | {"subject_token_type": ACCESS_TOKEN}
    denial(opened(block, subject=subject), "invalid_request: the issuer does not take this subject token")


def test_an_exchange_for_more_than_the_subject_allows_is_refused(oidc: OidcProvider, opened: Opened) -> None:
    block = exchanging(oidc.client("basic"), secret_ref="subject") | {"scope": f"{ANALYST} {OWNER}"}
    subject = oidc.subject(resource="https://catalog.example/")
    denial(opened(block, subject=subject), "invalid_scope: check credentials.scope")
