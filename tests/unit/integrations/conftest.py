"""A broker whose issuer is moved by hand, and a store that notes which keys it is asked with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.servers.keyed_store import KeyedStore

from credbroker import ADLSCredentials, Broker, GCSCredentials, S3Credentials
from credbroker.context import Context
from credbroker.credentials import AccessToken, Credential, TableCredentials
from credbroker.location import Location
from credbroker.request import CredentialRequest
from credbroker.testing import ControlledProvider, ManualClock, tick

CANARY = "canary'9c1f\";--"
ROLE = {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/Pipe", "credential_source": "environment"}
GCP = {"mode": "service_account", "credential_source": "environment"}
AZURE = {"mode": "service_account", "credential_source": "environment"}
ADLS = "abfss://lake@acme.dfs.core.windows.net/sales"
HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """What the adapters are given, and what moves it."""

    store: KeyedStore
    life: timedelta = HOUR
    endpoint: str | None = None
    region: str | None = "eu-west-1"
    prefixes: tuple[str, ...] = ("s3://lake/sales",)
    network: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.provider = ControlledProvider(answer=self._answer)
        self.endpoint = self.store.uri
        self._broker: Broker | None = None

    @property
    def config(self) -> dict[str, Any]:
        uri = "https://polaris.example/api"
        login = {"mode": "oauth2", "client_id": "pipe", "client_secret": {"secret_ref": "polaris"}}
        return {
            "environment": "test",
            "network": self.network,
            "storage": {
                "lake": {"locations": ["s3://lake/sales/", "s3://pond/"], "credentials": ROLE},
                "Runs": {"locations": ["s3://lake/sales/"], "credentials": {**ROLE, "session_run": True}},
                "gcs": {"type": "gcs", "locations": ["gs://lake/sales/"], "credentials": GCP},
                "adls": {"type": "azure", "locations": [ADLS], "credentials": AZURE},
            },
            "catalogs": {"polaris": {"uri": uri, "credentials": login}},
        }

    @property
    def broker(self) -> Broker:
        """Made when it is first asked for, of what was set until then."""
        if self._broker is None:
            modes = dict.fromkeys(("iam_role", "service_account", "oauth2", "catalog"), self.provider)
            self._broker = Broker.from_config(self.config, providers=modes, context=Context(clock=self.clock))
        return self._broker

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and the background thread do its work."""
        self.clock.advance(seconds)
        tick(self.broker)

    def keys(self, number: int, prefix: str = "") -> S3Credentials:
        return S3Credentials(
            f"ASIA{number}{prefix}",
            SecretStr(f"{CANARY}-secret-{number}"),
            SecretStr(f"{CANARY}-token-{number}"),
            region=self.region,
            endpoint=self.endpoint,
            expires_at=self.clock.now() + self.life,
        )

    def _answer(self, number: int, request: CredentialRequest, context: Context) -> Credential:
        end = self.clock.now() + self.life
        if request.kind == "table":
            held = self.keys(number)
            several = [(Location.parse(prefix), self.keys(number, str(n))) for n, prefix in enumerate(self.prefixes)]
            return TableCredentials(tuple(several if len(several) > 1 else [(Location.parse(self.prefixes[0]), held)]))
        if request.kind != "storage":
            return AccessToken(SecretStr(CANARY), expires_at=end)
        if request.locations[0].scheme == "gs":
            return GCSCredentials(SecretStr(f"{CANARY}-{number}"), expires_at=end)
        if request.locations[0].scheme == "abfss":
            return ADLSCredentials("acme", SecretStr(f"sv=1&sig={number}%2B"), expires_at=end)
        return self.keys(number)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower() == "no_proxy":
            monkeypatch.delenv(name)
    with KeyedStore() as store:
        made = Desk(store)
        yield made
        made.broker.close()


@pytest.fixture
def ambient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment would have a client do: other keys, another endpoint, another region, a proxy, no signature."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
