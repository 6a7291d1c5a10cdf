"""Every error of credbroker, one class for each thing a caller would do differently.

::

    CredbrokerError
    ├── ConfigurationError     platform.yaml or a call is wrong: fix it; asking again cannot help
    │   └── CredentialDetected a credential stands where only a reference belongs: move it
    ├── SecretNotFound         a secret_ref resolves nowhere: create the secret, or name the right one
    ├── AccessDenied           asked beyond the profile's limits: ask for less, or widen the profile
    ├── CredentialUnavailable  this source does not apply here: the only error that lets a chain go on
    ├── IssueDenied            the issuer said no: look at the role, the grant, the client
    ├── IssuerUnavailable      the issuer did not answer in time: it is asked again by itself
    ├── MalformedResponse      the issuer's answer breaks its protocol: look at the issuer
    ├── InsufficientLifetime   what the issuer gives lives shorter than was demanded
    └── BrokerClosed           the broker was closed: make a new one

No message holds a secret, a token, a header or a response body.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar


class CredbrokerError(Exception):
    """The root of the tree: catch this one to catch them all.

    ``profile`` and ``provider`` name where it happened, as far as that is known. ``retryable`` says whether the same call
    may succeed later with nothing changed; ``retry_after`` is the time that the issuer asked for (RFC 9110 section 10.2.3).
    """

    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        profile: str | None = None,
        provider: str | None = None,
        retryable: bool | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.profile = profile
        self.provider = provider
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        if self.profile is None or str(self.profile) in self.message:
            return self.message
        return f"{self.profile}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields are lost by Exception's own reduce; a worker's error must arrive whole in the driver.
        return (_rebuild, (self._kind(), self.message, self._fields()))

    def _kind(self) -> type[CredbrokerError]:
        """The nearest class of this module: a subclass of a plug-in's may be made in any way, and hold anything."""
        return next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)

    def _fields(self) -> dict[str, object]:
        return {
            "profile": self.profile,
            "provider": self.provider,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
        }

    def fresh(self, *, profile: str | None = None, provider: str | None = None) -> CredbrokerError:
        """The same error as a new object without traceback or context, with what was not known before filled in.

        One error object raised in many threads grows their frames, and keeps their locals alive.
        """
        fields = self._fields()
        fields["profile"] = self.profile or profile
        fields["provider"] = self.provider or provider
        return _rebuild(self._kind(), self.message, fields)

    def saying(self, message: str) -> CredbrokerError:
        """The same error as a new object with another text."""
        return _rebuild(self._kind(), message, self._fields())


def _rebuild(kind: type[CredbrokerError], message: str, fields: dict[str, object]) -> CredbrokerError:
    return kind(message, **fields)  # type: ignore[arg-type]


class ConfigurationError(CredbrokerError):
    """The configuration, or what a call passes on, is wrong; the text names file, line, field and remedy."""


class CredentialDetected(ConfigurationError):
    """A credential was found where only a logical name or a ``secret_ref`` belongs. The value is never shown."""


class SecretNotFound(CredbrokerError):
    """A ``secret_ref`` was found nowhere; the text names each place that was tried."""


class AccessDenied(CredbrokerError):
    """More was asked than the profile allows; no issuer was called."""


class CredentialUnavailable(CredbrokerError):
    """This source does not apply here (no such metadata server, no such file): a chain may try its next one."""


class IssueDenied(CredbrokerError):
    """The issuer refused. It is not retried for the caller; the broker's own backoff asks again.

    ``grant_denied`` is true where the *grant* was refused (STS ``AccessDenied``, OAuth2 ``invalid_grant`` and
    ``access_denied``), false where our own authentication failed (``invalid_client``, clock skew, an expired assertion),
    which a rotated secret or a corrected clock mends without the right having been withdrawn.
    """

    def __init__(
        self,
        message: str,
        *,
        grant_denied: bool = False,
        profile: str | None = None,
        provider: str | None = None,
        retryable: bool | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, profile=profile, provider=provider, retryable=retryable, retry_after=retry_after)
        self.grant_denied = grant_denied

    def _fields(self) -> dict[str, object]:
        return {**super()._fields(), "grant_denied": self.grant_denied}


class IssuerUnavailable(CredbrokerError):
    """Timeout, trickle, lost connection, 5xx or throttling: the broker asks again by itself, with backoff."""

    default_retryable = True


class MalformedResponse(CredbrokerError):
    """The answer is no answer of that protocol: garbage, a redirect, over 1 MiB, a lifetime that is no sane number."""


class InsufficientLifetime(CredbrokerError):
    """The credential that can be had lives shorter than was demanded, or is over on arrival."""


class BrokerClosed(CredbrokerError):
    """The broker was closed; nothing is held and nothing is issued any more."""
