"""client_secret_jwt and private_key_jwt: what the issuer sees, and which keys are refused before it sees anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from tests.unit.providers.fake_issuer import (
    NOW,
    SECRET,
    SETTINGS,
    URL,
    Issuer,
    answer,
    certificate,
    ec_key,
    form,
    loaded,
    pem,
    public,
    reference,
    refusal,
    rsa_key,
)

from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, SecretNotFound

BY_KEY = replace(
    SETTINGS,
    token_endpoint_auth_method="private_key_jwt",
    client_secret=None,
    private_key=reference("key", next="key-next"),
    key_id="k1",
)
BY_SECRET = replace(SETTINGS, token_endpoint_auth_method="client_secret_jwt")
REFUSED = refusal("invalid_client", 401)


def _assertions(issuer: Issuer, key: Any, algorithm: str) -> list[Any]:
    tokens = [jwt.decode(dict(form(sent))["client_assertion"], key, algorithms=[algorithm]) for sent in issuer.sent]
    assert all(sent.headers.keys() & {"authorization"} == set() for sent in issuer.sent)
    return tokens


def _fault(key: str, **settings: Any) -> str:
    issuer = Issuer(replace(BY_KEY, **settings), {"key": key})
    with pytest.raises(ConfigurationError) as caught:
        issuer.issue()
    assert issuer.sent == []
    text = str(caught.value)
    assert "catalogs.production.credentials.private_key " in text
    lines = [line for line in key.splitlines() if len(line) > 20 and "-----" not in line]
    assert not any(line in text for line in lines)
    return text


@pytest.mark.parametrize(
    ("key", "stated", "algorithm"),
    [
        (rsa_key, None, "RS256"),
        (rsa_key, "RS384", "RS384"),
        (rsa_key, "RS512", "RS512"),
        (rsa_key, "PS256", "PS256"),
        (ec_key, None, "ES256"),
        (ec_key, "ES256", "ES256"),
        (lambda: ec_key("secp384r1"), None, "ES384"),
        (lambda: ec_key("secp521r1"), None, "ES512"),
    ],
)
def test_a_private_key_signs_by_its_own_algorithm_or_the_one_that_is_named(
    key: Any, stated: str | None, algorithm: str
) -> None:
    issuer = Issuer(replace(BY_KEY, signing_alg=stated), {"key": key()})
    issuer.issue()
    kind = ECKey if algorithm.startswith("ES") else RSAKey
    (token,) = _assertions(issuer, kind.import_key(public(key())), algorithm)
    assert token.header == {"typ": "JWT", "alg": algorithm, "kid": "k1"}


def test_an_assertion_says_who_for_whom_and_until_when() -> None:
    issuer = Issuer(BY_KEY, {"key": rsa_key()})
    issuer.issue()
    (token,) = _assertions(issuer, RSAKey.import_key(public(rsa_key())), "RS256")
    now = int(NOW.timestamp())
    assert len(token.claims.pop("jti")) == 24
    assert token.claims == {"iss": "svc", "sub": "svc", "aud": URL, "iat": now, "exp": now + 60}
    assert form(issuer.sent[0])[2:5] == [
        ("client_id", "svc"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", dict(form(issuer.sent[0]))["client_assertion"]),
    ]
    assert "client_secret" not in dict(form(issuer.sent[0]))


def test_without_a_key_id_there_is_no_kid() -> None:
    issuer = Issuer(replace(BY_KEY, key_id=None), {"key": ec_key()})
    issuer.issue()
    (token,) = _assertions(issuer, ECKey.import_key(public(ec_key())), "ES256")
    assert token.header == {"typ": "JWT", "alg": "ES256"}


def test_a_configured_issuer_is_who_an_assertion_is_for() -> None:
    issuer = Issuer(replace(BY_KEY, issuer="https://idp.example/"), {"key": ec_key()})
    issuer.issue()
    (token,) = _assertions(issuer, ECKey.import_key(public(ec_key())), "ES256")
    assert token.claims["aud"] == "https://idp.example/"


@pytest.mark.parametrize("algorithm", [None, "HS256", "HS384", "HS512"])
def test_a_client_secret_signs(algorithm: str | None) -> None:
    issuer = Issuer(replace(BY_SECRET, signing_alg=algorithm))
    issuer.issue()
    (token,) = _assertions(issuer, OctKey.import_key(SECRET), algorithm or "HS256")
    assert token.header["alg"] == (algorithm or "HS256")
    assert SECRET not in (issuer.sent[0].body or b"").decode()


def test_a_secret_that_is_too_short_to_sign_with_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"credentials\.client_secret is too short to sign with") as caught:
        Issuer(BY_SECRET, {"oauth": "canary-short"}).issue()
    assert "canary" not in str(caught.value)


def test_no_two_requests_carry_the_same_jti() -> None:
    issuer = Issuer(BY_KEY, {"key": ec_key(), "key-next": ec_key(which=1)})
    issuer.issue(REFUSED, answer())
    first, second = issuer.sent
    keys = [ECKey.import_key(public(ec_key())), ECKey.import_key(public(ec_key(which=1)))]
    tokens = [jwt.decode(dict(form(sent))["client_assertion"], key) for sent, key in zip((first, second), keys, strict=True)]
    assert tokens[0].claims["jti"] != tokens[1].claims["jti"]


# ------------------------------------------------------------------------------------------------------------ rotation


def test_a_key_that_was_replaced_meanwhile_comes_before_the_next_one() -> None:
    issuer = Issuer(BY_KEY, {"key": [ec_key(), ec_key(which=1)], "key-next": rsa_key()})
    issuer.issue(REFUSED, answer())
    jwt.decode(dict(form(issuer.sent[1]))["client_assertion"], ECKey.import_key(public(ec_key(which=1))))


def test_two_refusals_are_not_followed_by_a_third_try() -> None:
    issuer = Issuer(BY_KEY, {"key": ec_key(), "key-next": ec_key(which=1)})
    with pytest.raises(IssueDenied, match=r"the public half of credentials\.private_key"):
        issuer.issue(REFUSED, REFUSED, answer())
    assert len(issuer.sent) == 2


def test_a_key_that_was_refused_is_not_tried_again() -> None:
    issuer = Issuer(BY_KEY, {"key": ec_key()})
    with pytest.raises(IssueDenied):
        issuer.issue(REFUSED, answer())
    assert len(issuer.sent) == 1


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SecretNotFound, match="key"):
        Issuer(BY_KEY, {}).issue()


# ------------------------------------------------------------------------------------------------------- the wrong key


def test_an_ec_key_does_not_sign_by_rs256() -> None:
    assert "is an EC key for ES256, and signing_alg is RS256" in _fault(ec_key(), signing_alg="RS256")


def test_an_ec_key_signs_by_its_own_curve_only() -> None:
    assert "is an EC key for ES384, and signing_alg is ES256" in _fault(ec_key("secp384r1"), signing_alg="ES256")


def test_an_rsa_key_does_not_sign_by_es256() -> None:
    assert "is an RSA key, and signing_alg is ES256" in _fault(rsa_key(), signing_alg="ES256")


def test_an_rsa_key_of_few_bits_is_refused() -> None:
    assert "is an RSA key of 1024 bits" in _fault(rsa_key(1024))


@pytest.mark.parametrize("key", [lambda: ec_key("secp256k1"), lambda: pem(ed25519.Ed25519PrivateKey.generate())])
def test_a_key_of_another_kind_is_refused(key: Any) -> None:
    assert "is a key of another kind" in _fault(key())


def test_a_certificate_is_no_key() -> None:
    assert "is a certificate" in _fault(certificate(rsa_key()))


def test_a_public_key_is_no_private_one() -> None:
    assert "is a public key" in _fault(public(rsa_key()))


def test_an_encrypted_key_is_refused() -> None:
    assert "is encrypted" in _fault(pem(loaded(ec_key()), b"a passphrase"))
    legacy = loaded(rsa_key()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )
    assert "is encrypted" in _fault(legacy.decode())


@pytest.mark.parametrize("key", ["canary", "canary" * 5000, "{}", "\x00"])
def test_garbage_is_no_key(key: str) -> None:
    text = _fault(key)
    assert "is no private key in PEM" in text
    assert "canary" not in text


def test_a_broken_pem_is_refused() -> None:
    half = rsa_key()
    assert "is a broken PEM" in _fault(half[: len(half) // 2] + "\n-----END PRIVATE KEY-----\n")
    assert "is a broken PEM" in _fault(half.replace("\n", "\\n"))


def test_a_key_with_its_certificate_in_one_secret_is_taken() -> None:
    issuer = Issuer(BY_KEY, {"key": certificate(ec_key()) + ec_key()})
    issuer.issue()
    assert len(_assertions(issuer, ECKey.import_key(public(ec_key())), "ES256")) == 1


# ----------------------------------------------------------------------------------------------------------- the clock


@pytest.mark.parametrize("settings", [BY_KEY, BY_SECRET])
@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("Mon, 23 Nov 2026 01:00:00 GMT", "about 60 min ahead of the issuer's: correct it"),
        ("Mon, 23 Nov 2026 03:00:00 GMT", "about 60 min behind the issuer's: correct it"),
        ("Mon, 23 Nov 2026 02:01:30 GMT", "about 90 s behind the issuer's: correct it"),
    ],
)
@pytest.mark.parametrize("code", ["invalid_client", "invalid_grant"])
def test_a_clock_that_is_wrong_is_told_of_where_an_assertion_was_refused(
    settings: Any, date: str, said: str, code: str
) -> None:
    with pytest.raises(IssueDenied) as caught:
        Issuer(settings, {"key": ec_key(), "oauth": SECRET}).issue(refusal(code, 401, date=date))
    assert f"this machine's clock is {said}" in str(caught.value)
    assert not caught.value.grant_denied


@pytest.mark.parametrize("date", ["Mon, 23 Nov 2026 02:00:50 GMT", "Mon, 23 Nov 2026 01:59:05 GMT", "x", ""])
def test_a_clock_that_is_nearly_right_is_not_blamed(date: str) -> None:
    with pytest.raises(IssueDenied) as caught:
        Issuer(BY_KEY, {"key": ec_key()}).issue(refusal("invalid_client", 401, date=date))
    assert "clock" not in str(caught.value)


def test_a_secret_that_is_refused_has_nothing_to_do_with_the_clock() -> None:
    with pytest.raises(IssueDenied) as caught:
        Issuer().issue(refusal("invalid_client", 401, date="Mon, 23 Nov 2026 01:00:00 GMT"))
    assert "clock" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    ("settings", "secrets"),
    [
        (BY_KEY, {"key": rsa_key()}),
        (replace(BY_KEY, signing_alg="ES256"), {"key": rsa_key()}),
        (BY_SECRET, {"oauth": SECRET}),
        (BY_SECRET, {"oauth": "canary-short"}),
    ],
)
def test_neither_key_nor_assertion_is_in_an_error_or_a_frame_that_it_keeps(settings: Any, secrets: dict[str, str]) -> None:
    issuer = Issuer(settings, secrets)  # type: ignore[arg-type]
    try:
        issuer.issue(REFUSED)
    except CredbrokerError as error:
        shown = [repr(error), str(error), repr(error.__context__)]
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        while trace:
            shown.append(repr({name: value for name, value in trace.tb_frame.f_locals.items() if name != "self"}))
            trace = trace.tb_next
        text = "".join(shown)
        for request in issuer.sent:
            assert dict(form(request))["client_assertion"] not in text
        for secret in secrets.values():
            assert not any(line in text for line in secret.splitlines() if not line.startswith("-----"))
    else:
        pytest.fail("it was taken")


# ------------------------------------------------------------------------------------------------------------ the plan


@pytest.mark.parametrize("missing", ["private_key", "client_id"])
def test_a_missing_setting_is_named(missing: str) -> None:
    issuer = Issuer(replace(BY_KEY, **{missing: None}), {"key": ec_key()})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rf"credentials\.{missing} is missing"):
        issuer.issue()
    assert issuer.sent == []


@pytest.mark.parametrize(("settings", "algorithm"), [(BY_KEY, "HS256"), (BY_KEY, "none"), (BY_SECRET, "RS256")])
def test_an_algorithm_that_the_method_does_not_have_is_refused(settings: Any, algorithm: str) -> None:
    issuer = Issuer(replace(settings, signing_alg=algorithm), {})
    with pytest.raises(ConfigurationError, match=r"credentials\.signing_alg must be one of"):
        issuer.issue()


def test_a_key_of_16384_bits_is_refused_at_once() -> None:
    """OpenSSL would check its primes for half a minute, and no other thread would run meanwhile."""
    other = (1 << 16382) | 1
    # Not a pair that could sign: what is looked at is its size.
    private = rsa.RSAPrivateNumbers(3, other, 1, 1, 1, 2, rsa.RSAPublicNumbers(65537, 3 * other))
    key = private.private_key(unsafe_skip_rsa_key_validation=True).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert "is an RSA key of 16384 bits, which takes seconds to sign with" in _fault(key.decode())
