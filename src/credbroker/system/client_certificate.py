"""A client's certificate in TLS (RFC 8705), from memory into OpenSSL without ever being on a disk."""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING

from credbroker.context import ClientCertificate
from credbroker.errors import ConfigurationError
from credbroker.system.process import in_forked_child

if TYPE_CHECKING:
    from pydantic import SecretStr


def present(certificate: ClientCertificate, tls: ssl.SSLContext) -> None:
    """Have ``tls`` present the certificate. Raises ``ConfigurationError`` for what is no pair; it never shows either."""
    fault = _load(certificate, tls)
    if fault is not None:
        raise ConfigurationError(f"the client certificate cannot be used: {fault}")


def _load(certificate: ClientCertificate, tls: ssl.SSLContext) -> str | None:
    # Returned, not raised: an error from in here would keep the frame that wrote the key.
    if not hasattr(os, "memfd_create"):
        return "that needs Linux, whose memory can have a file's name for a moment"
    with ExitStack() as opened:
        try:
            chain, key = (_in_memory(pem, opened) for pem in (certificate.chain, certificate.key))
            # The password is for a key that is encrypted: without one OpenSSL would ask for it at the terminal.
            tls.load_cert_chain(chain, key, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return "credentials.certificate_key is not the key of credentials.certificate; name the two made together"
            return "credentials.certificate and certificate_key must be PEM, the key without a passphrase"
        except OSError as error:
            return f"no memory for it could be named below /proc: {(error.strerror or type(error).__name__).lower()}"
    return None


_open: set[int] = set()


def _close(descriptor: int) -> None:
    _open.discard(descriptor)
    os.close(descriptor)


def _close_all() -> None:
    for descriptor in list(_open):
        _close(descriptor)


# A child that is forked just now would keep the key in its open files for as long as it lives.
in_forked_child(_close_all)


def _in_memory(pem: SecretStr, opened: ExitStack) -> str:
    """A path that only this process can open, and only for now: Python's ssl loads a chain from a path and nothing else.

    A temporary file, even on a tmpfs, would have a name that others see, and stay if the process is killed.
    """
    descriptor = os.memfd_create("credbroker", os.MFD_CLOEXEC)
    opened.callback(_close, descriptor)
    _open.add(descriptor)
    left = memoryview(pem.get_secret_value().encode())
    while left:
        left = left[os.write(descriptor, left) :]
    return f"/proc/self/fd/{descriptor}"
