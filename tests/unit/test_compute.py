from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import AccessToken, Broker, DatabaseCredentials
from credbroker.context import Context, Lease
from credbroker.errors import ConfigurationError, InsufficientLifetime
from credbroker.secrets.reference import SecretReference
from credbroker.testing import ControlledProvider, ManualClock

PEM = "-----BEGIN PRIVATE KEY-----\n" + "QUFB\n" * 3 + "-----END PRIVATE KEY-----\n"


class Holding:
    """Secrets by name; a lease for any reference that asks for one."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.leases = 0
        self.revoked: list[str] = []

    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(self.texts[reference.secret_ref])

    def lease(self, reference: SecretReference) -> Lease:
        self.leases += 1
        return Lease(SecretStr(self.texts[reference.secret_ref]), timedelta(minutes=10), f"lease-{self.leases}")

    def revoke(self, lease: str) -> None:
        self.revoked.append(lease)


def broker_of(secrets: Holding, clock: ManualClock | None = None, **profile: object) -> Broker:
    config = {"compute": {"engine": {"credentials": {"mode": "static", "secret_ref": "s"}, **profile}}}
    return Broker.from_config(config, context=Context(clock=clock or ManualClock(), secrets=secrets))


def got(text: str, **profile: object) -> AccessToken | DatabaseCredentials:
    with broker_of(Holding(s=text), **profile) as broker:
        return broker.compute("engine").get()


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        (json.dumps({"username": "ana", "password": "pä ss:word"}), {"type": "postgres"}),
        ("pä ss:word", {"type": "postgres", "properties": {"user": "ana"}}),
        ("pä ss:word", {"type": "snowflake", "properties": {"username": "ana"}}),
        (json.dumps({"password": "pä ss:word"}), {"properties": {"user": "ana", "port": 5432}}),
        (json.dumps({"username": "ana", "password": "pä ss:word", "host": None}), {"type": "trino"}),
    ],
)
def test_a_login_by_password(text: str, profile: dict[str, Any]) -> None:
    value = got(text, **profile)
    assert isinstance(value, DatabaseCredentials)
    assert value.username == "ana"
    assert value.password is not None
    assert value.password.get_secret_value() == "pä ss:word"
    assert value.private_key is None


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        (json.dumps({"username": "SVC", "private_key": PEM}), {"type": "snowflake"}),
        (PEM, {"type": "snowflake", "properties": {"user": "SVC"}}),
        (PEM, {"type": "trino", "properties": {"user": "SVC"}}),
    ],
)
def test_a_login_by_key_pair(text: str, profile: dict[str, Any]) -> None:
    value = got(text, **profile)
    assert isinstance(value, DatabaseCredentials)
    assert value.username == "SVC"
    assert value.private_key is not None
    assert value.private_key.get_secret_value() == PEM
    assert value.password is None


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("dapi-token\n", {"type": "databricks"}),
        ("a.jwt.token", {"type": "trino", "properties": {"user": "ana"}}),
        ("pat", {"type": "snowflake"}),
        (json.dumps({"username": "ana", "token": "pat"}), {"type": "snowflake"}),
    ],
)
def test_a_token(text: str, profile: dict[str, Any]) -> None:
    value = got(text, **profile)
    assert isinstance(value, AccessToken)
    assert value.value.get_secret_value() in ("dapi-token", "a.jwt.token", "pat")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"username": "ana"}),
        json.dumps({"username": "ana", "password": "canary-p", "private_key": PEM}),
        json.dumps({"username": "ana", "password": 4711}),
        json.dumps({"password": "canary-p"}),
        json.dumps({"username": "ana", "private_key": "canary-p"}),
        json.dumps({"username": "ana", "private_key": PEM.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")}),
        json.dumps({"username": "ana", "private_key": PEM[:40]}),
        json.dumps({"username": "ana", "password": "canary-p\nsecond"}),
        '{"username": "ana", "password": "canary-p',
        "canary with a blank",
    ],
)
def test_any_other_shape_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"compute\.engine\.credentials\.secret_ref names a secret that is of"
    ) as caught:
        got(text)
    assert "canary" not in str(caught.value)
    frames = [frame.frame.f_locals for frame in caught.traceback if "/credbroker/" in str(frame.path)]
    assert "canary" not in repr(frames)


def test_a_lease_ends_and_is_replaced_before_it_does() -> None:
    clock, secrets = ManualClock(), Holding(s=json.dumps({"username": "v-ana", "password": "p"}))
    lease = {"mode": "static", "secret_ref": {"secret_ref": "s", "engine": "dynamic"}}
    with broker_of(secrets, clock, credentials=lease) as broker:
        source = broker.compute("engine")
        value = source.get()
        assert isinstance(value, DatabaseCredentials)
        assert value.expires_at == clock.now() + timedelta(minutes=10)
        assert "lease-1" not in repr(value)
        clock.advance(599)
        assert source.get().fingerprint == value.fingerprint  # another lease of the same login, for the fake knows one only
        assert secrets.leases == 2
        with pytest.raises(InsufficientLifetime):
            source.get(min_ttl=timedelta(hours=2))


def test_a_lease_is_revoked_at_its_vault() -> None:
    secrets = Holding(s=json.dumps({"username": "v-ana", "password": "p"}))
    lease = {"mode": "static", "secret_ref": {"secret_ref": "s", "engine": "dynamic"}}
    with broker_of(secrets, credentials=lease) as broker:
        broker.compute("engine").get()
        (entry,) = broker.revoke("engine")
        assert entry["revoked"] is True
        assert secrets.revoked == ["lease-1"]


def test_a_static_login_is_its_owners_to_withdraw() -> None:
    with broker_of(Holding(s="token")) as broker:
        broker.compute("engine").get()
        (entry,) = broker.revoke("engine")
        assert entry["revoked"] is False
        assert "put a new one into the secret 's'" in str(entry["runbook"])


def test_a_lease_is_no_key_pair_and_no_catalogs_token() -> None:
    reference = {"mode": "static", "secret_ref": {"secret_ref": "s", "engine": "dynamic"}}
    config = {"environment": "local", "catalogs": {"c": {"uri": "https://c", "credentials": reference}}}
    with (
        Broker.from_config(config, context=Context(clock=ManualClock())) as broker,
        pytest.raises(ConfigurationError, match="which only compute takes"),
    ):
        broker.catalog("c")


def test_compute_takes_tokens_from_an_issuer_too() -> None:
    config = {"compute": {"engine": {"type": "databricks", "credentials": {"mode": "oauth2", "scope": "all-apis"}}}}
    context = Context(clock=ManualClock())
    with Broker.from_config(config, providers={"oauth2": ControlledProvider()}, context=context) as broker:
        assert broker.compute("engine") is broker.compute("engine")
        value = broker.compute("engine").get()
        assert isinstance(value, AccessToken)
        assert value.authorization_header() == "Bearer token-1"


def test_a_name_of_another_section_is_told() -> None:
    with (
        broker_of(Holding()) as broker,
        pytest.raises(ConfigurationError, match="no profile 'engine' under storage; it exists under compute"),
    ):
        broker.storage("engine")
