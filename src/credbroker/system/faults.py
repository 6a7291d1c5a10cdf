"""What a transport's error comes down to, in our own words: theirs may show the URL, a header or the answer."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from credbroker.errors import CredbrokerError, IssuerUnavailable, MalformedResponse

TRANSPORT_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""All that sending and reading may raise; requests lets urllib3's and http.client's own through here and there."""

# The first that fits counts. An answer that was cut off stands before the protocol errors, because to http.client it is one.
_FAULTS: tuple[tuple[tuple[type[BaseException], ...], type[CredbrokerError], str], ...] = (
    (
        (TimeoutError, urllib3.exceptions.TimeoutError),
        IssuerUnavailable,
        "{host} did not answer completely within {timeout:.3g} s",
    ),
    ((socket.gaierror,), IssuerUnavailable, "the name {host} could not be resolved: check the URL and the network"),
    (
        (ssl.SSLCertVerificationError,),
        IssuerUnavailable,
        "the certificate of {host} is not trusted ({reason}): renew it, or set network.ca_file to its issuer's",
    ),
    ((ssl.SSLError,), IssuerUnavailable, "no TLS connection with {host} came about: it must speak TLS 1.2 or newer"),
    ((urllib3.exceptions.ProxyError,), IssuerUnavailable, "{host} could not be reached through network.proxy"),
    (
        (http.client.RemoteDisconnected, http.client.IncompleteRead),
        IssuerUnavailable,
        "{host} closed the connection before its answer was complete",
    ),
    ((ConnectionError,), IssuerUnavailable, "the connection to {host} failed: {reason}"),
    (
        (http.client.HTTPException, urllib3.exceptions.InvalidHeader, requests.exceptions.InvalidHeader),
        MalformedResponse,
        "what answers at {host} does not speak HTTP: check the URL and its port",
    ),
    ((OSError, urllib3.exceptions.HTTPError), IssuerUnavailable, "the connection to {host} failed: {reason}"),
)


def explained(error: BaseException, host: str, timeout: float) -> CredbrokerError:
    """The error to raise for ``error``, which came up while asking ``host`` within ``timeout`` seconds."""
    causes = tuple(_causes(error))
    for kinds, made, text in _FAULTS:
        for cause in causes:
            if isinstance(cause, kinds):
                return made(text.format(host=host, timeout=timeout, reason=_reason(cause)))
    return IssuerUnavailable(f"the connection to {host} failed")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """All that led to the error, the root first: requests and urllib3 wrap one in another several times."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is not None and cause not in chain:
            chain.append(cause)
            waiting += [cause.__cause__, cause.__context__]
    return reversed(chain)


def _reason(error: BaseException) -> str:
    """What the system or OpenSSL calls it: a fixed phrase, never a text of the other side's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
