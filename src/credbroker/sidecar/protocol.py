"""What a protocol of the sidecar is: its routes, how a caller shows its token there, and how a value is told.

Who may ask, how often, and what goes on record is the same for all of them, and none of a protocol's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from pydantic import SecretStr

from credbroker.credentials import Credential
from credbroker.request import CredentialRequest

Variables = Mapping[str, str | SecretStr]
"""Environment variables. What is secret among them is a ``SecretStr``, so that nobody prints it."""

NO_STORE = ("cache-control", "no-store")
"""A header of every answer: no cache on the way keeps it."""

UNENDING = timedelta(hours=1)
"""What is told of a token that never ends, where the protocol must tell something: its reader comes back for the next."""


class Confined:
    """What holds a secret for as long as one request lasts: it is carried nowhere, as a credential value is not."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and is neither pickled nor copied")


@dataclass(frozen=True, slots=True, repr=False)
class Ask(Confined):
    """One request that the guard has let through. ``headers`` are by lower-case name; ``form`` is a POST's body.

    A parameter that is given twice was refused before (RFC 6749 section 3.2): two readers would each take another one.
    """

    binding: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]
    now: datetime
    granted: CredentialRequest | None = None
    """The credential's request: kind, profile, locations, access, scopes, audience."""

    def left(self, ends: datetime | None) -> int:
        """Whole seconds from now to ``ends``, never below zero."""
        return max(0, (UNENDING if ends is None else ends - self.now) // timedelta(seconds=1))


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Confined):
    """What is sent back. It may hold a secret, and shows none."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    last: bool = False
    """The connection ends with it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no value: a status, a code as error classes are named, and a text without a secret."""

    status: int
    code: str
    message: str
    retry_after: int | None = None
    """Seconds."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What every form of it carries, whatever the protocol."""
        return (NO_STORE, *(() if self.retry_after is None else (("retry-after", str(self.retry_after)),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One exact path.

    ``token`` finds the caller's token in the headers (lower-case names) and the form. None: the protocol has no place for
    one, and the kernel's word on who has connected decides alone. ``check`` refuses a request that no client of this
    protocol makes (a required header that is missing, a resource that the binding does not issue for); it is called before
    any value is asked for.
    """

    path: str
    """Below ``/<binding>/<protocol>``; of a protocol that is ``rooted``, below ``/``."""
    method: str = "GET"
    token: Callable[[Mapping[str, str], Mapping[str, str]], str | None] | None
    check: Callable[[Ask], Refusal | None] = lambda ask: None
    answer: Callable[[Ask, Credential, datetime | None], Answer] | None = None
    """Encodes the value; the instant is what the client is told as its end, a little before the real one.

    Raises ``ConfigurationError`` for a value that the protocol has no words for.
    """
    text: Callable[[Ask], Answer] | None = None
    """Instead of ``answer``: what is told without any value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Confined):
    """Where a binding is served, for the variables that lead a client there."""

    binding: str
    authority: str
    """``127.0.0.1:8642``"""
    token_file: str
    token: SecretStr
    region: str | None = None
    endpoint: str | None = None

    def url(self, protocol: str) -> str:
        """The address of a protocol that is not ``rooted``."""
        return f"http://{self.authority}/{self.binding}/{protocol}"

    def address(self, protocol: Protocol) -> str:
        """Where a protocol is asked."""
        return f"http://{self.authority}/" if protocol.rooted else self.url(protocol.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One protocol. ``refusal`` tells an error in its own form; ``environment`` leads an unmodified client to a binding."""

    name: str
    routes: tuple[Route, ...]
    refusal: Callable[[Refusal], Answer]
    environment: Callable[[Place], Variables]
    rooted: bool = False
    """Clients find it by host and port alone, so that one sidecar serves one binding by it."""
