"""What the command's exit codes mean, and which error ends in which. Above 2 they are those of ``sysexits.h``."""

from __future__ import annotations

from enum import IntEnum

from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)


class ExitCode(IntEnum):
    """How a command ends."""

    FINE = 0
    FINDING = 1
    """A check found something, or failed."""
    USAGE = 2
    """The command line is wrong."""
    UNAVAILABLE = 69
    """The issuer gave no answer that can be used; later it may."""
    DENIED = 77
    """The profile's limits or the issuer said no."""
    CONFIGURATION = 78
    """A file, a reference or an installation must be mended first."""
    INTERRUPTED = 130
    """Ctrl-C, as a shell says it: 128 and the signal's number."""


_BY_ERROR: tuple[tuple[type[CredbrokerError], ExitCode], ...] = (
    (IssuerUnavailable, ExitCode.UNAVAILABLE),
    (MalformedResponse, ExitCode.UNAVAILABLE),
    (InsufficientLifetime, ExitCode.UNAVAILABLE),
    (AccessDenied, ExitCode.DENIED),
    (IssueDenied, ExitCode.DENIED),
    (ConfigurationError, ExitCode.CONFIGURATION),
    (SecretNotFound, ExitCode.CONFIGURATION),
    (CredentialUnavailable, ExitCode.CONFIGURATION),
)


def exit_code_of(error: CredbrokerError) -> ExitCode:
    """The exit code for an error; ``FINDING`` for one that no line names, such as ``BrokerClosed``."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FINDING
