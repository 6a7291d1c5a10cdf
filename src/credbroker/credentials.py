"""The credential values: frozen, opaque in repr, and never carried out of the process.

A value is for one use, now: nothing pickles, copies or dumps it, because each of these would keep a secret somewhere that no
refresh reaches. Hold the ``CredentialSource`` instead and ask it at each use.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from credbroker.errors import AccessDenied, MalformedResponse
from credbroker.location import Location, covering
from credbroker.request import Access

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, SecretStr
    from pydantic_core import CoreSchema

# Drawn anew in each process: a fingerprint tells two values of one process apart and is no oracle for anyone else.
_FINGERPRINT_KEY = os.urandom(32)
# What stands in a user delegation key beside its times.
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]{1,64}")
_SERVICE_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _fingerprint(*parts: str) -> str:
    import hashlib  # with its OpenSSL part, a twentieth of this package's import time

    digest = hashlib.blake2b(key=_FINGERPRINT_KEY, digest_size=8)
    for part in parts:
        raw = part.encode(errors="surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)  # length-prefixed: ("ab", "c") is not ("a", "bc")
    return digest.hexdigest()


class _Value:
    """What every credential value has in common: it shows nothing and refuses to be carried away."""

    __slots__ = ()

    expires_at: datetime | None

    @property
    def fingerprint(self) -> str:
        """A keyed hash that names this very value; safe to log, comparable within this process only."""
        return _fingerprint(*self._identity())

    def _identity(self) -> tuple[str, ...]:
        raise AttributeError("fingerprint")

    def _check_expiry(self) -> None:
        if self.expires_at is None:
            return
        if not isinstance(self.expires_at, datetime) or self.expires_at.tzinfo is None:
            raise ValueError("expires_at must be an aware datetime: datetime.now(timezone.utc) + lifetime")
        if self.expires_at.tzinfo is not UTC:
            object.__setattr__(self, "expires_at", self.expires_at.astimezone(UTC))

    def __repr__(self) -> str:
        until = self.expires_at.isoformat(timespec="seconds") if self.expires_at else "never"
        return f"<{type(self).__name__} {self.fingerprint} expires_at={until}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a secret and is neither pickled nor copied: "
            "pass the CredentialSource on (it pickles as a reference) and call get() where the value is used"
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(_refuse_dump)
        )


def _refuse_dump(value: _Value) -> NoReturn:
    raise TypeError(
        f"{type(value).__name__} holds a secret and is not serialised: keep the CredentialSource in the model, "
        "or the value's fingerprint"
    )


def _need_secret(owner: _Value, **fields: object) -> None:
    for name, value in fields.items():
        if value is not None and not hasattr(value, "get_secret_value"):
            raise TypeError(f"{type(owner).__name__}.{name} must be a pydantic SecretStr, not {type(value).__name__}")


@dataclass(frozen=True, slots=True, repr=False)
class AccessToken(_Value):
    """A bearer token. ``scopes`` are the granted ones, where the issuer states them."""

    value: SecretStr
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750's name of a type, no secret
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        _need_secret(self, value=self.value)
        self._check_expiry()

    def authorization_header(self) -> str:
        """The value of an ``Authorization`` header (RFC 6750 section 2.1). A bearer type is written ``Bearer``."""
        kind = "Bearer" if self.token_type.lower() == "bearer" else self.token_type
        return f"{kind} {self.value.get_secret_value()}"

    def _identity(self) -> tuple[str, ...]:
        return (self.value.get_secret_value(),)


@dataclass(frozen=True, slots=True, repr=False)
class S3Credentials(_Value):
    """Keys for S3 or a store that speaks it. ``session_token`` is None only for a static key pair."""

    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr | None = None
    region: str | None = None
    endpoint: str | None = None
    expires_at: datetime | None = None
    locations: tuple[Location, ...] | None = None
    access: Access | None = None

    def __post_init__(self) -> None:
        _need_secret(self, secret_access_key=self.secret_access_key, session_token=self.session_token)
        self._check_expiry()

    def _identity(self) -> tuple[str, ...]:
        token = self.session_token.get_secret_value() if self.session_token else ""
        return (self.access_key_id, self.secret_access_key.get_secret_value(), token)


@dataclass(frozen=True, slots=True, repr=False)
class GCSCredentials(_Value):
    """An access token for Google Cloud Storage, narrowed by an access boundary where ``locations`` says so."""

    access_token: SecretStr
    expires_at: datetime | None = None
    locations: tuple[Location, ...] | None = None
    access: Access | None = None

    def __post_init__(self) -> None:
        _need_secret(self, access_token=self.access_token)
        self._check_expiry()

    def _identity(self) -> tuple[str, ...]:
        return (self.access_token.get_secret_value(),)


@dataclass(frozen=True, slots=True, repr=False)
class ADLSCredentials(_Value):
    """A shared access signature for one storage account."""

    account: str
    sas_token: SecretStr
    expires_at: datetime | None = None
    locations: tuple[Location, ...] | None = None
    access: Access | None = None

    def __post_init__(self) -> None:
        _need_secret(self, sas_token=self.sas_token)
        self._check_expiry()

    def _identity(self) -> tuple[str, ...]:
        return (self.account, self.sas_token.get_secret_value())


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseCredentials(_Value):
    """A database login: a password, or a private key in PEM. ``lease`` names the vault's lease that it is, if it is one."""

    username: str
    password: SecretStr | None = None
    private_key: SecretStr | None = None
    expires_at: datetime | None = None
    lease: str | None = None

    def __post_init__(self) -> None:
        _need_secret(self, password=self.password, private_key=self.private_key)
        if (self.password is None) == (self.private_key is None):
            raise ValueError("DatabaseCredentials take either a password or a private_key")
        self._check_expiry()

    def _identity(self) -> tuple[str, ...]:
        secret = self.password or self.private_key
        return (self.username, secret.get_secret_value() if secret else "")


@dataclass(frozen=True, slots=True, repr=False)
class DelegationKey(_Value):
    """A user delegation key, as Azure's blob service gave it (Microsoft, "Get User Delegation Key").

    ``oid`` and ``tid`` are the identity and its tenant; ``value`` is base64. Every SAS that it signs dies with it at
    ``expiry``, so it is the secret of them all. ``expires_at`` is when it is too old to sign another one (absent: at its
    ``expiry``), by our clock; ``start`` and ``expiry`` are by the account's, which leads ours by ``lead``. Raises
    ``MalformedResponse`` for a field that no such key has: each stands in what is signed.
    """

    oid: str
    tid: str
    start: datetime
    expiry: datetime
    service: str
    version: str
    value: SecretStr
    expires_at: datetime | None = None
    lead: timedelta = timedelta()

    def __post_init__(self) -> None:
        import base64

        _need_secret(self, value=self.value)
        for name, text, pattern in (("oid", self.oid, _IDENTIFIER), ("tid", self.tid, _IDENTIFIER)):
            if not pattern.fullmatch(text):
                raise MalformedResponse(f"the user delegation key's {name} is no identifier")
        if self.service != "b":
            raise MalformedResponse("the user delegation key is not for blob storage")
        if not _SERVICE_VERSION.fullmatch(self.version):
            raise MalformedResponse("the user delegation key's version is no service version")
        for name, instant in (("start", self.start), ("expiry", self.expiry)):
            if instant.tzinfo is None or instant.microsecond:
                raise MalformedResponse(f"the user delegation key's {name} is no whole second of UTC")
        try:
            base64.b64decode(self.value.get_secret_value(), validate=True)
        except ValueError:
            raise MalformedResponse("the user delegation key's value is no base64") from None
        if self.expires_at is None:
            object.__setattr__(self, "expires_at", self.expiry - self.lead)
        self._check_expiry()

    def _identity(self) -> tuple[str, ...]:
        return (self.value.get_secret_value(),)


StorageCredentials = S3Credentials | GCSCredentials | ADLSCredentials


@dataclass(frozen=True, slots=True, repr=False)
class TableCredentials(_Value):
    """The storage credentials of one table: a catalog may vend several, each for a prefix of its own."""

    by_location: tuple[tuple[Location, StorageCredentials], ...]
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        ends = [value.expires_at for _, value in self.by_location if value.expires_at is not None]
        if self.expires_at is not None:
            ends.append(self.expires_at)
        object.__setattr__(self, "expires_at", min(ends, default=None))
        self._check_expiry()

    @property
    def prefixes(self) -> tuple[Location, ...]:
        """Where each of the credentials is to be used."""
        return tuple(prefix for prefix, _ in self.by_location)

    @property
    def locations(self) -> tuple[Location, ...] | None:
        """What all of them were granted; None where one does not state it."""
        granted: list[Location] = []
        for _, value in self.by_location:
            if value.locations is None:
                return None
            granted.extend(value.locations)
        return tuple(dict.fromkeys(granted))

    @property
    def access(self) -> Access | None:
        """What all of them were granted; None where one does not state it, or two differ."""
        stated = {value.access for _, value in self.by_location}
        return stated.pop() if len(stated) == 1 else None

    def for_location(self, uri: str | Location) -> StorageCredentials:
        """The credentials whose prefix contains ``uri``: the longest that does. Raises ``AccessDenied`` if none does."""
        wanted = uri if isinstance(uri, Location) else Location.parse(uri)
        chosen = covering(self.prefixes, wanted)
        for prefix, value in self.by_location:
            if prefix == chosen:
                return value
        held = ", ".join(str(prefix) for prefix in self.prefixes) or "no location"
        raise AccessDenied(f"the table's credentials are for {held}; {wanted} lies outside")

    def _identity(self) -> tuple[str, ...]:
        return tuple(part for location, value in self.by_location for part in (str(location), *value._identity()))


def _capped(value: StorageCredentials, expires_at: datetime) -> StorageCredentials:
    return (
        value if value.expires_at is not None and value.expires_at <= expires_at else replace(value, expires_at=expires_at)
    )


Credential = (
    AccessToken | S3Credentials | GCSCredentials | ADLSCredentials | DatabaseCredentials | TableCredentials | DelegationKey
)
AnyCredential = TypeVar("AnyCredential", bound=_Value)


def ending_at(value: AnyCredential, expires_at: datetime) -> AnyCredential:
    """The same credential with an earlier end; of a table's credentials, each of them."""
    if isinstance(value, TableCredentials):
        held = tuple((location, _capped(inner, expires_at)) for location, inner in value.by_location)
        return replace(value, by_location=held, expires_at=expires_at)
    return replace(value, expires_at=expires_at)  # type: ignore[type-var]


__all__ = [
    "ADLSCredentials",
    "AccessToken",
    "Credential",
    "DatabaseCredentials",
    "DelegationKey",
    "GCSCredentials",
    "S3Credentials",
    "StorageCredentials",
    "TableCredentials",
    "ending_at",
]
