"""Client assertions (RFC 7523): a JWT that proves who we are, signed anew for each request.

Signed by joserfc, from claims that are made here each time: an assertion object that is kept would carry its ``jti`` into
the next request, and an issuer takes each only once.

Functions here return what is wrong with a key instead of raising it: their locals are the key itself.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr

from credbroker.context import ClientCertificate

_LIFETIME = timedelta(seconds=60)
# Bits. RFC 7518 section 3.3 for RSA; for a shared secret NIST SP 800-131A's least strength. RFC 7518 section 3.2 wants as
# many as the hash has, which the secrets that most issuers make up do not reach for HS384 and HS512.
_LEAST_RSA, _MOST_RSA = 2048, 8192
_LEAST_SHARED = 112
# The curve that each algorithm of RFC 7518 section 3.4 is bound to.
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_FOR_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def by_secret(secret: SecretStr, algorithm: str | None, claims: dict[str, str | int]) -> SecretStr | str:
    """The assertion of ``client_secret_jwt``, or what is wrong with the secret. HS256 unless said otherwise."""
    text = secret.get_secret_value().encode()
    if len(text) * 8 < _LEAST_SHARED:
        return f"is too short to sign with ({_LEAST_SHARED // 8} characters at least): have the issuer make a longer one"
    try:
        return _signed(OctKey.import_key(text), {"alg": algorithm or "HS256"}, claims)
    except (JoseError, ValueError):
        return "cannot be signed with"


def by_key(key: SecretStr, algorithm: str | None, key_id: str | None, claims: dict[str, str | int]) -> SecretStr | str:
    """The assertion of ``private_key_jwt``, or what is wrong with the PEM ``key``.

    Without ``algorithm`` it is the key's own: RS256 for RSA, ES256 for P-256. ``key_id`` becomes the header ``kid``.
    """
    found = _loaded(key.get_secret_value().strip().encode())
    if isinstance(found, str):
        return found
    own = _algorithm_of(found, algorithm)
    if own not in (*_FOR_RSA, *_CURVES.values()):
        return own  # what is wrong
    header = {"alg": own} if key_id is None else {"alg": own, "kid": key_id}
    try:
        # The very key that was looked at: from the PEM joserfc would check an RSA key's primes again, for 60 ms.
        signing = RSAKey(found, None) if isinstance(found, rsa.RSAPrivateKey) else ECKey(found, None)
        return _signed(signing, header, claims)
    except (JoseError, ValueError):
        return f"cannot be signed with by {own}"


def by_certificate(pair: ClientCertificate, algorithm: str | None, claims: dict[str, str | int]) -> SecretStr | str:
    """An assertion whose header names the certificate that signed it (``x5t#S256``), or what is wrong with the key.

    https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials: PS256 unless said otherwise, and RSA
    alone. ``pair`` is one that belongs together.
    """
    found = _loaded(pair.key.get_secret_value().strip().encode())
    if isinstance(found, str):
        return found
    if not isinstance(found, rsa.RSAPrivateKey):
        return "is no RSA key: Entra takes certificates of RSA keys alone"
    own = _algorithm_of(found, algorithm or "PS256")
    if own not in ("PS256", "RS256"):
        return own  # what is wrong
    (leaf, *_) = load_pem_x509_certificates(pair.chain.get_secret_value().encode())
    thumbprint = urlsafe_b64encode(leaf.fingerprint(SHA256())).rstrip(b"=").decode()
    try:
        return _signed(RSAKey(found, None), {"alg": own, "x5t#S256": thumbprint}, claims)
    except (JoseError, ValueError):
        return f"cannot be signed with by {own}"


def claims(client_id: str, audience: str, now: datetime) -> dict[str, str | int]:
    """What an assertion says (RFC 7523 section 3, OpenID Connect Core section 9): it is good once, and for a minute."""
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": urlsafe_b64encode(os.urandom(18)).decode(),
        "iat": int(now.timestamp()),
        "exp": int((now + _LIFETIME).timestamp()),
    }


def _signed(key: OctKey | RSAKey | ECKey, header: dict[str, str], claims: dict[str, str | int]) -> SecretStr:
    return SecretStr(jwt.encode({"typ": "JWT", **header}, claims, key, algorithms=[header["alg"]]))


def _algorithm_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, wanted: str | None) -> str:
    """The algorithm to sign by, or what is wrong with the key."""
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _LEAST_RSA:
            return f"is an RSA key of {key.key_size} bits: RFC 7518 section 3.3 wants {_LEAST_RSA} or more, make a new one"
        if key.key_size > _MOST_RSA:
            return f"is an RSA key of {key.key_size} bits, which takes seconds to sign with: {_MOST_RSA} are taken at most"
        if wanted is None or wanted in _FOR_RSA:
            return wanted or "RS256"
        return f"is an RSA key, and signing_alg is {wanted}: use RS256 or PS256, or leave signing_alg out"
    own = _CURVES[key.curve.name]
    if wanted in (None, own):
        return own
    return f"is an EC key for {own}, and signing_alg is {wanted}: use {own}, or leave signing_alg out"


def _loaded(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | str:
    """The key in ``pem``, or what is wrong with it."""
    fault = _no_key(pem)
    if fault is not None:
        return fault
    try:
        # OpenSSL's check of an RSA key's primes holds the interpreter for as long as it takes: 34 s for 16384 bits. A key
        # that is broken signs what the issuer refuses.
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "is a broken PEM: look whether its line ends came through, and all of its lines"
    if isinstance(key, rsa.RSAPrivateKey) or (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES):
        return key
    return "is a key of another kind: use RSA (2048 bits or more) or EC (P-256)"


def _no_key(pem: bytes) -> str | None:
    """What stands in the place of a private key that is open to us."""
    if b"-----BEGIN ENCRYPTED" in pem or b"4,ENCRYPTED" in pem:
        return "is encrypted: keep it without a passphrase, the secret's own place guards it"
    if b"PRIVATE KEY-----" in pem:
        return None
    if b"-----BEGIN CERTIFICATE" in pem:
        return "is a certificate: name the secret with the private key that belongs to it"
    if b"PUBLIC KEY-----" in pem:
        return "is a public key, which the issuer keeps: name the secret with the private one"
    return "is no private key in PEM (it begins with -----BEGIN PRIVATE KEY-----)"
