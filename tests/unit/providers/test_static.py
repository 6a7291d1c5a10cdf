from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from credbroker.context import Context
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.profile import CatalogProfile, CredentialSettings, Profile, StorageProfile
from credbroker.providers.static import StaticProvider
from credbroker.request import CredentialRequest
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import Resolver
from credbroker.system.environment import SystemEnvironment

SETTINGS = CredentialSettings(mode="static", secret_ref=SecretReference(secret_ref="keys"))
CATALOG = CatalogProfile(name="production", uri="https://catalog.internal", credentials=SETTINGS)
STORAGE = StorageProfile(name="local", production=False, allow_unscoped=True, region="us-east-1", credentials=SETTINGS)
TOKEN_REQUEST = CredentialRequest(kind="catalog", profile="production")
KEYS_REQUEST = CredentialRequest(kind="storage", profile="local")
CANARY = "canary-41d0"


class Vault:
    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets

    def resolve(self, reference: SecretReference) -> SecretStr:
        if reference.secret_ref not in self.secrets:
            raise SecretNotFound(f"secret {reference.secret_ref!r} not found")
        return SecretStr(self.secrets[reference.secret_ref])


def _keys(secret: str, profile: StorageProfile = STORAGE, **further: str) -> S3Credentials:
    value = StaticProvider().issue(KEYS_REQUEST, Context(secrets=Vault(keys=secret, **further), profile=profile))
    assert isinstance(value, S3Credentials)
    return value


def _parts(value: S3Credentials) -> tuple[str, str, str | None]:
    token = value.session_token.get_secret_value() if value.session_token else None
    return value.access_key_id, value.secret_access_key.get_secret_value(), token


def _plan(profile: Profile, request: CredentialRequest = KEYS_REQUEST) -> str:
    with pytest.raises(ConfigurationError) as caught:
        StaticProvider().plan(request, profile)
    return str(caught.value)


# -------------------------------------------------------------------------------------------------------------- a token


@pytest.mark.parametrize("secret", ["tok.en-1", "tok.en-1\n", " tok.en-1 "])
def test_a_catalog_s_token_is_what_the_secret_holds(secret: str) -> None:
    value = StaticProvider().issue(TOKEN_REQUEST, Context(secrets=Vault(keys=secret), profile=CATALOG))
    assert isinstance(value, AccessToken)
    assert value.value.get_secret_value() == "tok.en-1"
    assert value.expires_at is None
    assert value.scopes == frozenset()


@pytest.mark.parametrize("secret", ["", CANARY + " x", CANARY + "\r\nX-Evil: 1", CANARY + "ü"])
def test_what_could_not_stand_in_a_header_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"catalogs\.production\.credentials\.secret_ref") as caught:
        StaticProvider().issue(TOKEN_REQUEST, Context(secrets=Vault(keys=secret), profile=CATALOG))
    assert CANARY not in str(caught.value) + repr([entry.frame.f_locals for entry in caught.traceback[1:]])


def test_a_token_may_be_static_in_production_too() -> None:
    assert CATALOG.production
    assert StaticProvider().plan(TOKEN_REQUEST, CATALOG).locations is None


# ----------------------------------------------------------------------------------------------------------- a key pair


@pytest.mark.parametrize(
    ("secret", "parts"),
    [
        ("AK:S/+=", ("AK", "S/+=", None)),
        ("AK:SK:TOK==", ("AK", "SK", "TOK==")),
        ("AK:SK:", ("AK", "SK", None)),
        ("AK:SK\n", ("AK", "SK", None)),
        ('{"access_key_id": "AK", "secret_access_key": "S:K"}', ("AK", "S:K", None)),
        ('{"access_key_id": "AK", "secret_access_key": "SK", "session_token": "TOK"}', ("AK", "SK", "TOK")),
        ('\n {"access_key_id": "AK", "secret_access_key": "SK", "session_token": "", "more": 1}', ("AK", "SK", None)),
    ],
)
def test_a_key_pair_is_read_in_either_shape(secret: str, parts: tuple[str, str, str | None]) -> None:
    value = _keys(secret)
    assert _parts(value) == parts
    assert (value.region, value.endpoint, value.expires_at) == ("us-east-1", None, None)


def test_a_directory_of_fields_is_a_key_pair(tmp_path: Any) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    for field, text in {"access_key_id": "AK\n", "secret_access_key": "SK\n", "session_token": "TOK\n"}.items():
        (folder / field).write_text(text)
    secrets = Resolver([FilesBackend(str(tmp_path))], Context(environment=SystemEnvironment()))
    value = StaticProvider().issue(KEYS_REQUEST, Context(secrets=secrets, profile=STORAGE))
    assert isinstance(value, S3Credentials)
    assert _parts(value) == ("AK", "SK", "TOK")


def test_static_keys_do_not_say_what_they_are_good_for() -> None:
    value = _keys("AK:SK")
    assert (value.locations, value.access) == (None, None)


@pytest.mark.parametrize(
    "secret",
    [
        CANARY,
        f"{CANARY}:",
        f":{CANARY}",
        f"A:B:{CANARY}:D",
        f"A: {CANARY} x",
        f"A:{CANARY}\nB",
        ":",
        "",
        "{",
        "{}",
        "[1]",
        json.dumps({"access_key_id": CANARY}),
        json.dumps({"access_key_id": "A", "secret_access_key": 7}),
        json.dumps({"access_key_id": "A", "secret_access_key": CANARY, "session_token": ["x"]}),
        '{"a":' * 100_000,
    ],
)
def test_a_secret_of_another_shape_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.local\.credentials\.secret_ref .* ACCESS:SECRET") as caught:
        _keys(secret)
    frames = [entry.frame.f_locals for entry in caught.traceback if entry.path.name == "static.py"]
    assert frames
    assert CANARY not in str(caught.value) + repr(frames)


visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(access_key_id=visible, secret_access_key=visible, session_token=visible)
def test_json_carries_every_key_pair(access_key_id: str, secret_access_key: str, session_token: str) -> None:
    fields = {"access_key_id": access_key_id, "secret_access_key": secret_access_key, "session_token": session_token}
    assert _parts(_keys(json.dumps(fields))) == (access_key_id, secret_access_key, session_token)


@given(st.text())
def test_any_secret_is_a_key_pair_or_refused(secret: str) -> None:
    try:
        value = _keys(secret)
    except ConfigurationError:
        return
    assert all(_parts(value)[:2])


def test_the_endpoint_may_stand_in_a_secret() -> None:
    profile = replace(STORAGE, endpoint=SecretReference(secret_ref="endpoint"))
    assert _keys("AK:SK", profile, endpoint="https://store.internal").endpoint == "https://store.internal"
    with pytest.raises(ConfigurationError, match=r"storage\.local\.endpoint"):
        _keys("AK:SK", profile, endpoint="http://store.internal")


def test_the_secret_is_read_afresh_at_each_issue() -> None:
    vault = Vault(keys="AK:SK")
    context = Context(secrets=vault, profile=STORAGE)
    first = StaticProvider().issue(KEYS_REQUEST, context)
    vault.secrets["keys"] = "AK2:SK2"
    assert StaticProvider().issue(KEYS_REQUEST, context).fingerprint != first.fingerprint


# -------------------------------------------------------------------------------------------------------------- the plan


def test_static_keys_need_to_be_allowed_as_unscoped() -> None:
    assert "storage.local.allow_unscoped must be true" in _plan(replace(STORAGE, allow_unscoped=False))


def test_static_keys_are_refused_in_production() -> None:
    fault = _plan(replace(STORAGE, production=True))
    assert "refused for storage in production (which an absent 'environment:' means)" in fault


def test_static_keys_are_for_s3_only() -> None:
    assert "storage.local.type" in _plan(replace(STORAGE, type="gcs"))


def test_an_endpoint_over_plain_http_is_refused() -> None:
    assert "storage.local.endpoint" in _plan(replace(STORAGE, endpoint="http://store.internal"))


def test_a_missing_reference_is_named() -> None:
    assert "credentials.secret_ref is missing" in _plan(replace(STORAGE, credentials=replace(SETTINGS, secret_ref=None)))


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(SecretNotFound, match="keys"):
        StaticProvider().issue(KEYS_REQUEST, Context(secrets=Vault(), profile=STORAGE))


def test_keys_that_are_not_allowed_are_not_even_read() -> None:
    with pytest.raises(ConfigurationError):
        StaticProvider().issue(KEYS_REQUEST, Context(secrets=Vault(), profile=replace(STORAGE, allow_unscoped=False)))
