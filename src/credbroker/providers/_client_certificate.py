"""The certificate and key that a client presents in the TLS handshake (RFC 8705), read afresh at each issue."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from pydantic import SecretStr

from credbroker.context import ClientCertificate, Context
from credbroker.errors import SecretNotFound
from credbroker.providers.requirements import misconfigured, settings
from credbroker.secrets.reference import SecretReference

_FIELD, _KEY_FIELD = "credentials.certificate", "credentials.certificate_key"


def certificate(context: Context) -> ClientCertificate:
    """The pair that the profile names.

    It is read a second time where the two do not belong together: a rotation replaces one before the other. Raises
    ``SecretNotFound``, or ``ConfigurationError`` for what is no pair then either.
    """
    block = settings(context.profile)
    pair = _pair(block.certificate, block.certificate_key, context)
    if _fault(pair) is not None:
        pair = other_certificate(pair, context) or pair
    fault = _fault(pair)
    if fault is not None:
        raise misconfigured(context.profile, *fault)
    return pair


def other_certificate(tried: ClientCertificate, context: Context) -> ClientCertificate | None:
    """Another pair than the one that was tried: what stands in its place by now, or with the ``next`` of a rotation."""
    block = settings(context.profile)
    stated, key = block.certificate, block.certificate_key
    successor = stated.successor if isinstance(stated, SecretReference) else None
    next_key = key.successor if key is not None else None
    candidates = [(stated, key)]
    if successor is not None or next_key is not None:
        candidates.append((successor or stated, next_key or key))
    for candidate in candidates:
        try:
            pair = _pair(*candidate, context)
        except SecretNotFound:
            continue
        if pair != tried and _fault(pair) is None:
            return pair
    return None


def _pair(stated: str | SecretReference | None, key: SecretReference | None, context: Context) -> ClientCertificate:
    if stated is None or key is None:  # plan() has seen to it
        raise misconfigured(context.profile, _FIELD, "is missing")
    chain = context.secrets.resolve(stated) if isinstance(stated, SecretReference) else _file(stated, context)
    return ClientCertificate(chain, context.secrets.resolve(key))


def _file(path: str, context: Context) -> SecretStr:
    try:
        return SecretStr(context.environment.read(path).decode("ascii", "replace"))
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
    raise SecretNotFound(f"the file of {_FIELD}, {path!r}, could not be read: {why}")


def _fault(pair: ClientCertificate) -> tuple[str, str] | None:
    """The field at fault, and what is wrong with it. Returned, since the locals here are the key."""
    try:
        (leaf, *_) = load_pem_x509_certificates(pair.chain.get_secret_value().encode())
        public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return _FIELD, "is no certificate in PEM (it begins with -----BEGIN CERTIFICATE-----)"
    try:
        # Only its public half is looked at here, which spares an RSA key the check of its primes (60 ms).
        pem = pair.key.get_secret_value().strip().encode()
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return _KEY_FIELD, "is encrypted: keep it without a passphrase, the secret's own place guards it"
    except (ValueError, UnsupportedAlgorithm):
        return _KEY_FIELD, "is no private key in PEM (it begins with -----BEGIN PRIVATE KEY-----), or a broken one"
    if key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        return _KEY_FIELD, "is not the key of credentials.certificate: name the two that were made together"
    return None
