"""Context: all that a provider may touch. What is not handed in reaches nothing.

The protocols stand here; the real ones are in ``credbroker.system``, made ones for tests in ``credbroker.testing``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from credbroker.credentials import Credential
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from pydantic import SecretStr

    from credbroker.profile import Profile
    from credbroker.secrets.reference import SecretReference


class Clock(Protocol):
    """Two readings of time: what the wall says, and what has gone by."""

    def now(self) -> datetime:
        """The wall clock, as an aware UTC datetime. It may jump."""

    def elapsed(self) -> float:
        """Seconds since some fixed point. It never jumps, and it counts the time that the machine was suspended."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate chain and its private key, both in PEM: who we are in the TLS handshake (RFC 8705)."""

    chain: SecretStr = field(repr=False)
    key: SecretStr = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to an issuer. Its repr shows neither headers nor body: both hold secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    client_certificate: ClientCertificate | None = field(default=None, repr=False)
    link_local: bool = False
    """To this machine's own metadata service: plain http to one of its fixed addresses, past the proxy."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The answer, whatever its status, below 1 MiB. Header names are lower case; times are aware UTC."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    sent: datetime
    received: datetime


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a request went, for the audit."""

    host: str
    port: int
    address: str | None
    tls: str | None


class Http(Protocol):
    """Sends a request to an issuer: no redirect followed, no ambient proxy, one total deadline.

    ``send`` raises ``IssuerUnavailable`` (no answer in time), ``MalformedResponse`` (a redirect, over 1 MiB),
    ``ConfigurationError`` (a host or scheme that the configuration does not allow, a client certificate that is none) or
    ``IssueDenied`` (the client certificate is refused in the handshake).
    """

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse: ...


class Environment(Protocol):
    """Environment variables and files, read afresh at each call."""

    def variable(self, name: str) -> str | None:
        """The variable's value, or None."""

    def read(self, path: str, *, within: str | None = None) -> bytes:
        """A regular file's content, at most 1 MiB. Raises ``OSError``, ``FileNotFoundError`` where there is none.

        ``within`` names a directory that the file must lie in after every symbolic link: ``PermissionError`` elsewhere.
        """

    def names(self, path: str) -> tuple[str, ...] | None:
        """What a directory holds, sorted; None where ``path`` is no directory."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A secret that was made for us and ends by itself: what a vault's dynamic engine issues.

    ``lifetime`` counts from before it was asked for. ``name`` says which vault gave it and what it is called there, so that
    it can be revoked.
    """

    secret: SecretStr = field(repr=False)
    lifetime: timedelta
    name: str = field(repr=False)


class Secrets(Protocol):
    """Resolves a reference, afresh at each call."""

    def resolve(self, reference: SecretReference) -> SecretStr:
        """Raises ``SecretNotFound``, which names every place that was tried, or what a place answered instead."""

    def lease(self, reference: SecretReference) -> Lease:
        """A new lease, for a reference with ``engine: dynamic``. Raises as ``resolve`` does."""

    def revoke(self, lease: str) -> None:
        """End the lease of that name at the vault that gave it. Raises a ``CredbrokerError`` where that cannot be done."""


class _NoClock:
    def now(self) -> NoReturn:
        raise ConfigurationError("this Context was built without a clock: it knows no time")

    def elapsed(self) -> NoReturn:
        raise ConfigurationError("this Context was built without a clock: it knows no time")


# Seconds by which the transport gives up before the flight does. Its error names the host that did not answer; the flight,
# which ends at the same moment otherwise, knows no host.
_AHEAD = 0.1
_OF_NO_FLIGHT = 10.0  # seconds, for what is asked outside of one: as long as a flight has by default

NO_CLOCK = _NoClock()
"""What a Context has that was built without a clock; the broker puts the system's in its place."""


class _NoHttp:
    def send(self, request: HttpRequest, **_: object) -> NoReturn:
        raise ConfigurationError("this Context was built without http: nothing is sent")


class _NoEnvironment:
    def variable(self, name: str) -> None:
        return None

    def read(self, path: str, *, within: str | None = None) -> NoReturn:
        raise FileNotFoundError(f"this Context was built without an environment: {path} is not read")

    def names(self, path: str) -> None:
        return None


class _NoSecrets:
    def resolve(self, reference: SecretReference) -> NoReturn:
        raise SecretNotFound(f"secret {reference.secret_ref!r} not found: this Context was built without secrets")

    lease = resolve

    def revoke(self, lease: str) -> NoReturn:
        raise ConfigurationError("this Context was built without secrets: it has no vault")


def _no_get(request: CredentialRequest) -> NoReturn:
    raise ConfigurationError("this Context is of no flight: it cannot get another profile's credential")


def _no_base(name: str) -> NoReturn:
    raise ConfigurationError("this Context is of no flight: it has no base credential")


def _no_drop(name: str, value: Credential) -> NoReturn:
    raise ConfigurationError("this Context is of no flight: it has no base credential to drop")


def _no_invalidate(request: CredentialRequest, value: Credential) -> NoReturn:
    raise ConfigurationError("this Context is of no flight: it cannot invalidate another profile's credential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """All that a provider may touch.

    An embedder builds one from ``clock``, ``http``, ``environment`` and ``secrets``. For each issue the broker hands the
    provider a copy whose clock does not jump, with ``profile`` (the settings to issue by), ``remaining`` (seconds left of
    the flight), ``get`` and ``invalidate`` (another profile's credential: same store, limits and audit), ``base`` (the
    profile's own credential of that name, of which narrower ones are made: ``issue`` is called for it with
    ``request.base``, and it is held once), ``drop`` (an issuer refused that one: True where ``base`` may bring another) and
    ``on_connection``.
    """

    clock: Clock = NO_CLOCK
    http: Http = field(default_factory=_NoHttp)
    environment: Environment = field(default_factory=_NoEnvironment)
    secrets: Secrets = field(default_factory=_NoSecrets)
    profile: Profile = None  # type: ignore[assignment]  # given for each issue, before a provider sees it
    remaining: Callable[[], float] = lambda: _OF_NO_FLIGHT
    get: Callable[[CredentialRequest], Credential] = _no_get
    base: Callable[[str], Credential] = _no_base
    drop: Callable[[str, Credential], bool] = _no_drop
    invalidate: Callable[[CredentialRequest, Credential], bool] = _no_invalidate
    on_connection: Callable[[Connection], None] | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send ``request`` once: within what is left of the flight, by the profile's rule for plain http, and on record.

        Raises what ``Http.send`` does. Where there is no profile (a secret's backend has none), plain http goes to loopback
        only.
        """
        left = self.remaining()
        return self.http.send(
            request,
            timeout=left - min(_AHEAD, left / 2),
            allow_insecure=self.profile is not None and self.profile.allow_insecure,
            on_connection=self.on_connection,
        )

    def of_no_profile(self) -> Context:
        """The same world without a profile and other profiles' credentials: what a secret's backend may touch."""
        none: Any = None  # a backend's context has no profile
        return replace(
            self, profile=none, get=_no_get, base=_no_base, drop=_no_drop, invalidate=_no_invalidate, on_connection=None
        )
