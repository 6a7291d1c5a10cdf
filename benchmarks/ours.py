"""credbroker as a contender: a real broker on the real clock; only the issuer behind the provider is a stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from benchmarks.contender import Call, Contender, Issuer, IssuerDownError, State
from credbroker import AccessToken, Broker, CredentialSource, S3Credentials
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import IssuerUnavailable
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.request import CredentialRequest

CATALOG, STORAGE, LOCATION = "production", "lake", "s3://lake/sales"
HOUR = timedelta(hours=1)

_DUE_LIFE = timedelta(seconds=4)
"""Usable for 2.67 s; its refresh is due between 1.93 and 2.00 s."""
DUE_BEFORE = 0.2
"""Seconds that a source handed over as DUE has left, at least, before its refresh falls due."""
_DUE_AFTER = 1.93

_CATALOG = {
    "uri": "https://catalog.example/api",
    "warehouse": "lake",
    "credentials": {"mode": "oauth2", "client_id": "bench", "client_secret": {"secret_ref": "bench"}, "scope": "all"},
}
CONFIGURATION: dict[str, Any] = {
    "version": 1,
    "environment": "development",
    "catalogs": {CATALOG: _CATALOG},
    "storage": {
        STORAGE: {
            "locations": [f"{LOCATION}/"],
            "credentials": {
                "mode": "iam_role",
                "role_arn": "arn:aws:iam::123456789012:role/Bench",
                "credential_source": "environment",
            },
        }
    },
}


class Provider:
    """Issues what the issuer answers, in the form that each kind of request takes."""

    def __init__(self, issuer: Callable[[], str], lifetime: timedelta | None = HOUR) -> None:
        self.issuer = issuer
        self.lifetime = lifetime

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return Grant(locations=request.locations or None, access=request.access)

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        ends = context.clock.now() + self.lifetime if self.lifetime is not None else None
        try:
            token = self.issuer()
        except IssuerDownError:
            raise IssuerUnavailable("the issuer is down") from None
        if request.kind == "catalog":
            return AccessToken(SecretStr(token), expires_at=ends)
        return S3Credentials("AKIDBENCH", SecretStr("secret"), SecretStr(token), expires_at=ends)


def broker(provider: Provider, configuration: dict[str, Any] = CONFIGURATION) -> Broker:
    return Broker.from_config(configuration, providers={"oauth2": provider, "iam_role": provider, "static": provider})


def source(issuer: Issuer, state: State) -> tuple[Broker, CredentialSource[AccessToken]]:
    """A source of its own broker, in that state."""
    provider = Provider(issuer)
    made = broker(provider)
    handle = made.catalog(CATALOG)
    if state is State.COLD:
        return made, handle
    latency, issuer.latency = issuer.latency, 0.0
    if state is State.DUE:
        provider.lifetime = _DUE_LIFE
    started = time.monotonic()
    handle.get()
    handle.get()  # only what is used is refreshed
    provider.lifetime = HOUR
    issuer.latency, issuer.calls = latency, 0
    if state is State.DUE:
        time.sleep(max(0.0, started + _DUE_AFTER - DUE_BEFORE - time.monotonic()))
    return made, handle


def _get(issuer: Issuer, state: State) -> Call:
    made, handle = source(issuer, state)
    return Call(handle.get, close=made.close)


def _by_catalog(issuer: Issuer, state: State) -> Call:
    made, _ = source(issuer, state)
    catalog = made.catalog
    return Call(lambda: catalog("production").get(), 'catalog("production").get()', {"catalog": catalog}, close=made.close)


def _by_storage(issuer: Issuer, _state: State) -> Call:
    made = broker(Provider(issuer))
    storage = made.storage
    storage(STORAGE, LOCATION).get()
    return Call(
        lambda: storage("lake", "s3://lake/sales").get(),
        'storage("lake", "s3://lake/sales").get()',
        {"storage": storage},
        close=made.close,
    )


def _while_refreshed(_issuer: Issuer, _state: State) -> Call:
    """A value past its ``refresh_at`` whose refresh is under way for as long as this is measured."""
    ended, begun = threading.Event(), threading.Event()

    def held_back() -> str:
        if begun.is_set():
            ended.wait()
        return "token"

    # A value without an end, read again after a fifth of a second: due then, and usable for as long as one likes.
    settings = {"mode": "static", "secret_ref": "bench", "reread_interval": "200ms", "timeout": "5m"}
    catalogs = {CATALOG: {**_CATALOG, "credentials": settings}}
    made = broker(Provider(held_back, None), {**CONFIGURATION, "catalogs": catalogs})
    handle = made.catalog(CATALOG)
    handle.get()
    handle.get()
    begun.set()
    time.sleep(0.3)

    def close() -> None:
        ended.set()
        made.close()

    return Call(handle.get, close=close)


_WARM = frozenset({State.WARM})
SOURCE = Contender("credbroker source.get()", _get, frozenset(State), hit_target=1.5)
CONTENDERS = (
    SOURCE,
    Contender("credbroker broker.catalog(name).get()", _by_catalog, _WARM, hit_target=5),
    Contender("credbroker broker.storage(name, location).get()", _by_storage, _WARM, hit_target=5),
    Contender("credbroker source.get(), refresh under way", _while_refreshed, _WARM),
)
