"""What a transport's error comes down to, in our own words: theirs may show the URL, a header or the answer."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse

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


_BROKEN_OFF = "HANDSHAKE_FAILURE"  # the whole of what a server says in TLS 1.2 that wants a certificate and gets none
# What a server says in the handshake of a certificate that it does not take, as OpenSSL calls it (RFC 8446 section 6.2).
_REFUSED_CERTIFICATE = (
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "UNSUPPORTED_CERTIFICATE",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
    _BROKEN_OFF,
)
_CUT = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, ssl.SSLEOFError)
_NO_CERTIFICATE = "CERTIFICATE_REQUIRED"


def explained(error: BaseException, host: str, timeout: float, *, certified: bool = False) -> CredbrokerError:
    """The error to raise for ``error``, which came up while asking ``host`` within ``timeout`` seconds.

    ``certified`` says that a client certificate was there to be presented.
    """
    causes = tuple(_causes(error))
    refusal = _of_certificate(causes, host, certified=certified)
    if refusal is not None:
        return refusal
    for kinds, made, text in _FAULTS:
        for cause in causes:
            if isinstance(cause, kinds):
                return made(text.format(host=host, timeout=timeout, reason=_reason(cause)))
    return IssuerUnavailable(f"the connection to {host} failed")


def _of_certificate(causes: tuple[BaseException, ...], host: str, *, certified: bool) -> CredbrokerError | None:
    """Where the server refused the handshake for our certificate's sake: its word, in a closed list of alerts."""
    reasons = [cause.reason or "" for cause in causes if isinstance(cause, ssl.SSLError)]
    # SSLV3_ALERT_BAD_CERTIFICATE, TLSV1_ALERT_UNKNOWN_CA, TLSV13_ALERT_CERTIFICATE_REQUIRED: the version is of no interest.
    alerts = [reason.partition("_ALERT_")[2] for reason in reasons]
    if _NO_CERTIFICATE in alerts and not certified:
        return IssueDenied(
            f"{host} wants a client certificate: set token_endpoint_auth_method: tls_client_auth, and its keys"
        )
    named = [alert for alert in alerts if alert in (*_REFUSED_CERTIFICATE, _NO_CERTIFICATE)]
    if _BROKEN_OFF in alerts and not certified:
        return IssuerUnavailable(
            f"no TLS connection with {host} came about: it must speak TLS 1.2 or newer, or wants a client certificate"
        )
    if certified and named:
        return IssueDenied(
            f"{host} broke off the TLS handshake ({named[0].lower().replace('_', ' ')}): most likely it does not take the "
            "client certificate; look at its end, its issuer, and whether this client is registered with it"
        )
    if certified and any(isinstance(cause, _CUT) for cause in causes):
        # The same, by a server whose word was lost on the way.
        return IssuerUnavailable(
            f"{host} closed the connection before it answered: it may be down, or not take the client certificate"
        )
    return None


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
