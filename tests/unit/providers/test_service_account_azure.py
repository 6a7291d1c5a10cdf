from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.oracles import sas as oracle
from tests.servers.entra_storage import document, error
from tests.servers.entra_world import FILE, IMDS, LAKE, POSTGRES, AzureWorld, certificate, storage
from tests.servers.strict import Answer

from credbroker.context import HttpRequest, HttpResponse
from credbroker.credentials import ADLSCredentials
from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.testing import ManualClock

IDENTITIES = [
    "client_secret",
    "certificate",
    "certificate RS256",
    "web_identity file",
    "web_identity variable",
    "managed_identity",
    "managed_identity user",
    "managed_identity app service",
]
KEY = "POST https://acme.blob.core.windows.net/"


@pytest.fixture
def azure() -> Iterator[AzureWorld]:
    with AzureWorld() as world:
        yield world


def _token(world: AzureWorld) -> str:
    return f"POST https://login.microsoftonline.com/{world.entra.tenant}/oauth2/v2.0/token"


def _sas(value: object) -> str:
    assert isinstance(value, ADLSCredentials)
    return value.sas_token.get_secret_value()


def _refused(kind: type[CredbrokerError], call: Callable[[], object], text: str) -> CredbrokerError:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert type(caught.value) is kind
    assert "canary" not in str(caught.value)
    return caught.value


# --- the SAS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IDENTITIES)
def test_each_identity_gets_a_sas_for_the_asked_directory_alone_in_two_requests(azure: AzureWorld, kind: str) -> None:
    with azure.broker(storage(azure.identity(kind))) as broker:
        value = broker.storage("lake", f"{LAKE}/sales/orders", access="read").get()
    first = f"GET {IMDS}/metadata/identity/oauth2/token" if kind.startswith("managed") else _token(azure)
    if kind.endswith("app service"):
        first = f"GET {azure.identities.uri}/msi/token"
    assert azure.requests == [first, KEY]
    assert isinstance(value, ADLSCredentials)
    (key,) = azure.blob.keys
    fields = oracle.parse(_sas(value))
    assert value.expires_at is not None
    assert datetime.fromisoformat(fields["se"]) == value.expires_at, "what is signed is what is told"
    microsofts = oracle.microsofts("acme", "lake", "sales/orders", permissions="rl", key=key, expires_at=value.expires_at)
    assert fields == microsofts
    now = datetime.now(UTC)
    allowed = {
        (container, path, operation)
        for container in ("lake", "pond")
        for path in ("sales/orders/1", "sales/orders2/1", "sales/1", "1")
        for operation in ("read", "overwrite")
        if oracle.allows(_sas(value), oracle.Request(operation, "acme", container, path, now), key)
    }
    assert allowed == {("lake", "sales/orders/1", "read")}


def test_each_further_sas_of_an_account_takes_no_request(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        made = {_sas(broker.storage("lake", f"{LAKE}/sales/{number}").get()) for number in range(20)}
        made.add(_sas(broker.with_context(actor="ana").storage("lake", f"{LAKE}/sales/1", access="write").get()))
    assert len(made) == 21
    assert azure.requests == [_token(azure), KEY]


def test_another_account_has_another_key_and_the_same_token(azure: AzureWorld) -> None:
    other = "abfss://lake@other.dfs.core.windows.net/sales"
    with azure.broker(storage(azure.identity("client_secret"), locations=[f"{LAKE}/sales", other])) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
        broker.storage("lake", other).get()
    assert azure.requests == [_token(azure), KEY, "POST https://other.blob.core.windows.net/"]


def test_every_sas_has_its_whole_life_and_a_key_lives_no_longer_than_its_last_sas(
    azure: AzureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(datetime.now(UTC))
    sent = azure.http.send

    def undated(request: HttpRequest, **how: Any) -> HttpResponse:
        return replace(sent(request, **how), headers={})  # the account's clock is not the one that is moved here

    monkeypatch.setattr(azure.http, "send", undated)
    with azure.broker(storage(azure.identity("client_secret"), max_ttl="2h"), clock=clock) as broker:
        for number in range(12):
            made = broker.storage("lake", f"{LAKE}/sales/{number}").get()
            assert made.expires_at == (clock.now() + timedelta(hours=2)).replace(microsecond=0)
            clock.advance(2_600 if number % 2 else 990)  # the key is fresh, and then it is over
    for key in azure.blob.keys:
        life = datetime.fromisoformat(key.signed_expiry or "") - datetime.fromisoformat(key.signed_start or "")
        assert life == timedelta(hours=3, minutes=5)
    assert len(azure.blob.keys) == 6


def test_a_life_of_weeks_is_cut_to_what_a_key_can_sign(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"), max_ttl="168h")) as broker:
        value = broker.storage("lake", f"{LAKE}/sales").get()
    assert value.expires_at is not None
    assert timedelta(days=5, hours=23) < value.expires_at - datetime.now(UTC) <= timedelta(days=6)


def test_a_sas_that_the_account_refuses_leads_to_a_new_key_once(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        sales, finance = broker.storage("lake", f"{LAKE}/sales"), broker.storage("lake", f"{LAKE}/finance")
        first, second = sales.get(), finance.get()
        assert sales.invalidate(first)
        again = sales.get()
        assert azure.requests == [_token(azure), KEY, KEY]
        assert oracle.parse(_sas(again))["sig"] != oracle.parse(_sas(first))["sig"]
        # The other one was made of the key that is gone by now: the new one is not dropped for its sake.
        assert finance.invalidate(second)
        finance.get()
        assert len(azure.requests) == 3
        # Refused once more: at most one issue in half a minute comes of it.
        assert not sales.invalidate(again)
        assert len(azure.requests) == 3


def test_a_token_that_the_account_refuses_is_replaced_once(azure: AzureWorld) -> None:
    with azure.broker(
        storage(azure.identity("client_secret"), locations=[f"{LAKE}/sales", LAKE.replace("acme", "other") + "/x"])
    ) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
        azure.good.clear()
        broker.storage("lake", LAKE.replace("acme", "other") + "/x").get()
        other = "POST https://other.blob.core.windows.net/"
        assert azure.requests == [_token(azure), KEY, other, _token(azure), other]


def test_a_new_token_that_is_refused_too_ends_it(azure: AzureWorld) -> None:
    azure.blob.accepts = lambda _: False
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        _refused(IssueDenied, broker.storage("lake", f"{LAKE}/sales").get, "HTTP 401 InvalidAuthenticationInfo.*tenant_id")
    assert azure.requests == [_token(azure), KEY, _token(azure), KEY]


def test_the_role_that_is_missing_is_named(azure: AzureWorld) -> None:
    azure.blob.may_delegate = False
    with azure.broker(storage(azure.identity("managed_identity"))) as broker:
        fault = _refused(
            IssueDenied,
            broker.storage("lake", f"{LAKE}/sales").get,
            "acme.blob.core.windows.net .* HTTP 403 AuthorizationPermissionMismatch: grant .* 'Storage Blob Delegator'",
        )
    assert getattr(fault, "grant_denied", None) is True
    assert len(azure.requests) == 2


def test_a_flat_account_has_its_container_only_where_the_profile_says_so(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"), allow_container_scope=True)) as broker:
        source = broker.storage("lake", f"{LAKE}/sales")
        assert [str(location) for location in source.explain().locations or ()] == [f"{LAKE}/"]
        value = source.get()
    assert oracle.parse(_sas(value))["sr"] == "c"
    assert [str(location) for location in value.locations or ()] == [f"{LAKE}/"]


def test_what_is_explained_is_what_is_signed_and_takes_no_request(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        source = broker.storage("lake", f"{LAKE}/sales/orders", access="read_write")
        policy = dict(source.explain().policy or {})
        assert azure.requests == []
        fields = oracle.parse(_sas(source.get()))
    assert policy.pop("canonicalizedResource") == "/blob/acme/lake/sales/orders"
    assert {name: str(value) for name, value in policy.items()}.items() <= fields.items()


def test_nothing_outside_the_profile_is_asked_for(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"))) as broker, pytest.raises(AccessDenied):
        broker.storage("lake", f"{LAKE}/sales2")
    assert azure.requests == []


def test_a_sas_ends_when_it_says(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"), max_ttl="4s")) as broker:
        value = broker.storage("lake", f"{LAKE}/sales").get()
    (key,) = azure.blob.keys
    assert value.expires_at is not None
    before, after = value.expires_at - timedelta(seconds=1), value.expires_at
    tries = [
        oracle.allows(_sas(value), oracle.Request("read", "acme", "lake", "sales/1", moment), key)
        for moment in (before, after)
    ]
    assert tries == [True, False]
    assert value.expires_at - datetime.now(UTC) <= timedelta(seconds=4)


# --- the key's answer -------------------------------------------------------------------------------------------------

GOOD = {
    "SignedOid": "11059fcc-5514-4800-b5f8-49808b9cfab6",
    "SignedTid": "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42",
    "SignedStart": "",
    "SignedExpiry": "",
    "SignedService": "b",
    "SignedVersion": "2020-12-06",
    "Value": "Y2FuYXJ5IGNhbmFyeQ==",
}


def _key(**changes: str | None) -> Answer:
    now = datetime.now(UTC)
    times = {
        "SignedStart": (now - timedelta(minutes=4)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "SignedExpiry": (now + timedelta(hours=1, minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    said = {**GOOD, **times, **changes}
    return document(**{name: value for name, value in said.items() if value is not None})


def _raw(text: str) -> Answer:
    return Answer(200, text.encode())


@pytest.mark.parametrize(
    "made",
    [
        lambda: _key(Value=None),
        lambda: _key(SignedTid=None),
        lambda: _key(Value="canary!"),
        lambda: _key(SignedOid="canary oid"),
        lambda: _key(SignedService="q"),
        lambda: _key(SignedVersion="canary"),
        lambda: _key(SignedExpiry="canary"),
        lambda: _key(SignedExpiry="2026-13-45T00:00:00Z"),
        lambda: _key(SignedExpiry="2999-01-01T00:00:00Z"),
        lambda: _key(SignedExpiry="0001-01-01T00:00:00Z"),
        lambda: _key(SignedStart="2000-01-01T00:00:00Z"),
        lambda: _key(Value="<b>canary</b>"),
        lambda: _key(Value="&amp;canary"),
        lambda: _raw((_key().body or b"").decode().replace("<UserDelegationKey>", "<UserDelegationKey><Value>YQ==</Value>")),  # type: ignore[attr-defined]
        lambda: _raw('<!DOCTYPE a [<!ENTITY b "canary">]><UserDelegationKey/>'),
        lambda: _raw("canary"),
        lambda: _raw("\xff"),
        lambda: Answer(200, b"\xff\xfe"),
        lambda: Answer(302, b""),
        lambda: Answer(418, b"canary"),
    ],
)
def test_an_answer_that_is_no_key_is_refused_and_not_shown(azure: AzureWorld, made: Callable[[], Answer]) -> None:
    azure.blob.next.append(made())
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        _refused(MalformedResponse, broker.storage("lake", f"{LAKE}/sales").get, "user delegation key|redirect")
    assert len(azure.requests) == 2


def test_a_key_with_a_field_of_a_later_version_is_taken(azure: AzureWorld) -> None:
    azure.blob.next.append(_key(SignedDelegatedUserTid="x"))
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        assert broker.storage("lake", f"{LAKE}/sales").get().expires_at is not None


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (error(403, "AuthorizationFailure"), IssueDenied, "network rules"),
        (error(403, "canary"), IssueDenied, "HTTP 403: grant"),
        (error(403, "AuthenticationFailed"), IssueDenied, "clock"),
        (error(409, "AccountIsDisabled"), IssueDenied, "disabled"),
        (error(404, "ResourceNotFound"), ConfigurationError, "storage account's host"),
        (error(503, "ServerBusy"), IssuerUnavailable, "HTTP 503"),
        (Answer(429, b"", {"Retry-After": "7"}), IssuerUnavailable, "HTTP 429"),
    ],
)
def test_a_refusal_of_the_account_says_what_to_do(
    azure: AzureWorld, answer: Answer, kind: type[CredbrokerError], text: str
) -> None:
    azure.blob.next.append(answer)
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        fault = _refused(kind, broker.storage("lake", f"{LAKE}/sales").get, text)
    assert not getattr(fault, "grant_denied", False)
    assert len(azure.requests) == 2


@pytest.mark.parametrize(
    "hostile",
    [
        " " * 1_000_000,
        "<?xml ?>" + " " * 8_000,
        "<UserDelegationKey>" + " " * 8_000,
        "<UserDelegationKey>" + "<a></a>" * 1_100,
        "<UserDelegationKey><" + "a" * 8_000,
        "<" * 1_000_000,
        "<Code>" * 150_000,
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_long_answer_that_is_no_key_takes_no_time(azure: AzureWorld, hostile: str, status: int) -> None:
    azure.blob.next.append(Answer(status, hostile.encode()))
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        source = broker.storage("lake", f"{LAKE}/sales")
        began = time.process_time()
        _refused(MalformedResponse, source.get, "user delegation key")
    assert time.process_time() - began < 1, "64 KiB of blanks once took six seconds"


# --- clocks that disagree ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-86_400, -7_200, -720, -240, 0, 240, 720, 7_200, 86_400])
def test_a_sas_is_told_by_our_clock_and_signed_by_the_accounts(azure: AzureWorld, off: int) -> None:
    """However far our clock is ahead (or behind), a SAS lives as long as it is told, and its key has begun."""
    clock = ManualClock(datetime.now(UTC) + timedelta(seconds=off))
    with azure.broker(storage(azure.identity("managed_identity"), max_ttl="15m"), clock=clock) as broker:
        value = broker.storage("lake", f"{LAKE}/sales").get()
    assert azure.requests.count(KEY) == (2 if abs(off) > 300 else 1)
    now, key = datetime.now(UTC), azure.blob.keys[-1]
    assert value.expires_at is not None
    told, lives = value.expires_at - clock.now(), datetime.fromisoformat(oracle.parse(_sas(value))["se"]) - now
    assert timedelta(minutes=14, seconds=50) < told <= lives + timedelta(seconds=2)
    assert lives < timedelta(minutes=15, seconds=2)
    assert oracle.allows(_sas(value), oracle.Request("read", "acme", "lake", "sales/1", now), key)
    assert datetime.fromisoformat(key.signed_start or "") <= now, "the key has begun"
    if off <= -7_200:  # a key that is over by the account's clock is refused, and asked for by that clock
        assert len(azure.blob.wrong) == 1
        azure.blob.wrong.clear()


# --- tokens for catalogs and compute ----------------------------------------------------------------------------------


def _compute(world: AzureWorld, kind: str = "client_secret", **changes: Any) -> dict[str, Any]:
    credentials = {**world.identity(kind), "platform": "azure", "scope": f"{POSTGRES}/.default", **changes}
    return {
        "environment": "development",
        "compute": {"reports": {"type": "postgres", "credentials": credentials}},
        "catalogs": {
            "onelake": {
                "uri": "https://onelake.table.fabric.microsoft.com/iceberg",
                "credentials": {**credentials, "scope": "https://api.fabric.microsoft.com/.default"},
            }
        },
    }


@pytest.mark.parametrize("kind", IDENTITIES[:5])
def test_compute_and_catalogs_get_a_token_for_their_resource_in_one_request(azure: AzureWorld, kind: str) -> None:
    with azure.broker(_compute(azure, kind)) as broker:
        token = broker.compute("reports").get()
        assert azure.requests == [_token(azure)]
        other = broker.catalog("onelake").get()
    assert [asked.form["scope"] for asked in azure.entra.asked] == [
        f"{POSTGRES}/.default",
        "https://api.fabric.microsoft.com/.default",
    ]
    assert token.fingerprint != other.fingerprint
    assert token.expires_at is not None
    assert timedelta(minutes=59) < token.expires_at - datetime.now(UTC) <= timedelta(hours=1)


def test_a_managed_identity_has_compute_tokens_too(azure: AzureWorld) -> None:
    azure.identities.resources.append(POSTGRES)
    with azure.broker(_compute(azure, "managed_identity")) as broker:
        broker.compute("reports").get()
    assert azure.requests == [f"GET {IMDS}/metadata/identity/oauth2/token"]
    assert azure.identities.asked[0].query["resource"] == POSTGRES


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        (None, r"credentials\.scope is missing"),
        (POSTGRES, r"credentials\.scope must be '<resource>/\.default'"),
        ("/.default", r"credentials\.scope must be"),
        (f"{POSTGRES}/.default https://x/.default", r"credentials\.scope names 2 scopes"),
    ],
)
def test_a_scope_that_no_application_can_have_is_refused_unasked(azure: AzureWorld, scope: str | None, text: str) -> None:
    with azure.broker(_compute(azure, scope=scope)) as broker:
        _refused(ConfigurationError, lambda: broker.compute("reports").get(), text)
    assert azure.requests == []


def test_an_audience_is_not_dropped_in_silence(azure: AzureWorld) -> None:
    with azure.broker(_compute(azure)) as broker:
        _refused(ConfigurationError, lambda: broker.catalog("onelake", audience="x").get(), "scope names the resource")


@pytest.mark.parametrize(
    ("scope", "authority"),
    [
        ("https://ossrdbms-aad.database.chinacloudapi.cn/.default", "https://login.partner.microsoftonline.cn"),
        ("https://ossrdbms-aad.database.usgovcloudapi.net/.default", "https://login.microsoftonline.us"),
    ],
)
def test_the_cloud_of_the_resource_says_whom_to_ask(azure: AzureWorld, scope: str, authority: str) -> None:
    azure.http.origins[authority] = azure.entra.uri
    azure.entra.resources += (scope.removesuffix("/.default"),)
    with azure.broker(_compute(azure, scope=scope)) as broker:
        broker.compute("reports").get()
    assert azure.requests == [f"POST {authority}/{azure.entra.tenant}/oauth2/v2.0/token"]


@pytest.mark.parametrize(
    ("suffix", "authority"),
    [
        ("core.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
        ("core.usgovcloudapi.net", "https://login.microsoftonline.us"),
        ("storage.azure.net", "https://login.microsoftonline.com"),
    ],
)
def test_the_cloud_of_the_account_says_whom_to_ask(azure: AzureWorld, suffix: str, authority: str) -> None:
    host = "acme.z12" if suffix == "storage.azure.net" else "acme"
    azure.http.origins |= {authority: azure.entra.uri, f"https://{host}.blob.{suffix}": azure.blob.uri}
    azure.entra.audiences += (f"{authority}/{azure.entra.tenant}/oauth2/v2.0/token",)
    location = f"abfss://lake@{host}.dfs.{suffix}/sales"
    with azure.broker(storage(azure.identity("certificate"), locations=[location])) as broker:
        value = broker.storage("lake", location).get()
    assert azure.requests == [
        f"POST {authority}/{azure.entra.tenant}/oauth2/v2.0/token",
        f"POST https://{host}.blob.{suffix}/",
    ]
    assert isinstance(value, ADLSCredentials)
    assert value.account == "acme"


# --- what is wrong with the settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        (
            "client_secret",
            {"credential_source": None},
            r"credentials\.credential_source is missing: name the identity, one of",
        ),
        ("client_secret", {"credential_source": "imds"}, r"credential_source is 'imds', which Azure has not"),
        ("client_secret", {"tenant_id": None}, r"credentials\.tenant_id is missing: credential_source 'client_secret'"),
        ("client_secret", {"client_id": None}, r"credentials\.client_id is missing"),
        ("client_secret", {"client_secret": None}, r"credentials\.client_secret is missing"),
        ("client_secret", {"tenant_id": "a/b"}, r"credentials\.tenant_id must be a directory's id"),
        (
            "client_secret",
            {"subject_token": {"file": FILE}},
            r"credentials\.subject_token is not used with .*'client_secret'",
        ),
        ("client_secret", {"scope": "https://x/.default"}, r"credentials\.scope is not used"),
        ("client_secret", {"role_arn": "arn:aws:iam::123456789012:role/x"}, r"credentials\.role_arn is not used"),
        ("client_secret", {"platform": "gcp"}, r"credentials\.platform is 'gcp', and the store is 'azure'"),
        ("certificate", {"certificate": None}, r"credentials\.certificate is missing"),
        ("certificate", {"certificate_key": None}, r"credentials\.certificate_key is missing"),
        ("certificate", {"client_secret": {"secret_ref": "app"}}, r"credentials\.client_secret is not used"),
        ("certificate", {"signing_alg": "ES256"}, r"credentials\.signing_alg must be PS256 or RS256"),
        ("web_identity file", {"tenant_id": None}, r"credentials\.tenant_id is missing"),
        ("web_identity file", {"client_secret": {"secret_ref": "app"}}, r"credentials\.client_secret is not used"),
        ("web_identity file", {"subject_token": {"file": FILE, "secret_ref": "x"}}, r"credentials\.subject_token must name"),
        ("managed_identity", {"tenant_id": "contoso.onmicrosoft.com"}, r"credentials\.tenant_id is not used"),
        ("managed_identity", {"client_secret": {"secret_ref": "app"}}, r"credentials\.client_secret is not used"),
    ],
)
def test_a_missing_or_superfluous_field_is_named(azure: AzureWorld, kind: str, changes: dict[str, Any], text: str) -> None:
    credentials = {**azure.identity(kind), **changes}
    with azure.broker(storage({name: value for name, value in credentials.items() if value is not None})) as broker:
        _refused(ConfigurationError, lambda: broker.storage("lake", f"{LAKE}/sales").get(), text)
    assert azure.requests == []


@pytest.mark.parametrize(
    ("locations", "text"),
    [
        (["abfss://lake@acme.dfs.collector.example/x"], "on a host that is not Azure's"),
        (["abfss://lake@acme.dfs.core.windows.net.collector.example/x"], "on a host that is not Azure's"),
        (["s3://lake/x"], "is not on ADLS"),
        ([f"{LAKE}/x", "abfss://lake@acme.dfs.core.chinacloudapi.cn/x"], "lie in two clouds"),
    ],
)
def test_no_token_goes_to_a_host_that_is_not_azures(azure: AzureWorld, locations: list[str], text: str) -> None:
    with azure.broker(storage(azure.identity("client_secret"), locations=locations)) as broker:
        _refused(ConfigurationError, lambda: broker.storage("lake", locations[0]).get(), text)
    assert azure.requests == []


# --- what is wrong with the identity ----------------------------------------------------------------------------------


def _no_file(world: AzureWorld, block: dict[str, Any]) -> None:
    del world.machine.files[FILE]


def _half_written(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = world.machine.files[FILE][:150]


def _empty(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = "\n"


def _expired(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = world.entra.federated_token(exp=int(datetime.now(UTC).timestamp()) - 60)


def _of_another_issuer(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = world.entra.federated_token(iss="https://canary.example")


def _for_another_audience(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = world.entra.federated_token(aud="canary")


def _of_another_subject(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.files[FILE] = world.entra.federated_token(sub="canary")


def _another_tenant(world: AzureWorld, block: dict[str, Any]) -> None:
    block["tenant_id"] = "contoso.onmicrosoft.com"


def _another_application(world: AzureWorld, block: dict[str, Any]) -> None:
    block["client_id"] = "11111111-4b5a-6978-8796-a5b4c3d2e1f0"


def _another_certificate(world: AzureWorld, block: dict[str, Any]) -> None:
    world.kept.secrets["cert"], world.kept.secrets["cert-key"], _ = certificate()


def _another_key(world: AzureWorld, block: dict[str, Any]) -> None:
    _, world.kept.secrets["cert-key"], _ = certificate()


def _wrong_secret(world: AzureWorld, block: dict[str, Any]) -> None:
    world.kept.secrets["app"] = "canary"


def _no_secret(world: AzureWorld, block: dict[str, Any]) -> None:
    world.kept.secrets.clear()


def _no_identity(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.assigned.clear()


def _nobody_answers(world: AzureWorld, block: dict[str, Any]) -> None:
    world.http.origins[IMDS] = "http://127.0.0.1:1"


def _updating(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.next.append(Answer(410, b""))


def _throttled(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.next.append(Answer(429, {}, {"Retry-After": "1"}))


def _no_resource(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.resources.clear()


def _wrong_header(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.variables["IDENTITY_HEADER"] = "canary"


def _no_header(world: AzureWorld, block: dict[str, Any]) -> None:
    del world.machine.variables["IDENTITY_HEADER"]


def _elsewhere(world: AzureWorld, block: dict[str, Any]) -> None:
    world.machine.variables["IDENTITY_ENDPOINT"] = "http://canary.example/msi/token"


def _another_answer(world: AzureWorld, block: dict[str, Any]) -> None:
    body = {"access_token": "eyJ", "expires_on": "2000000000", "client_id": "canary"}
    world.identities.next.append(Answer(200, body))


def _no_end(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.next.append(Answer(200, {"access_token": "eyJ", "expires_in": "86400"}))


def _over(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.next.append(Answer(200, {"access_token": "eyJ", "expires_on": "1000000000"}))


def _a_page(world: AzureWorld, block: dict[str, Any]) -> None:
    world.identities.next.append(Answer(200, b"canary"))


@pytest.mark.parametrize(
    ("kind", "fault", "error_class", "text", "requests"),
    [
        ("web_identity file", _no_file, CredentialUnavailable, "cannot be read: no such file.*subject_token.file", 0),
        ("web_identity variable", _no_file, CredentialUnavailable, r"\(\$AZURE_FEDERATED_TOKEN_FILE\)", 0),
        ("web_identity file", _half_written, SecretNotFound, "no whole JWT: look at what writes it", 0),
        ("web_identity file", _empty, SecretNotFound, "holds no token", 0),
        ("web_identity file", _expired, InsufficientLifetime, "is over by this machine's clock, and was not sent", 0),
        ("web_identity file", _of_another_issuer, IssueDenied, "AADSTS700211, .* for the token's issuer", 1),
        ("web_identity file", _for_another_audience, IssueDenied, "AADSTS700212, .* audience", 1),
        ("web_identity file", _of_another_subject, IssueDenied, "AADSTS700213, .* subject", 1),
        ("web_identity file", _another_tenant, IssueDenied, "invalid_request: AADSTS90002, .*tenant_id", 1),
        ("client_secret", _another_tenant, IssueDenied, "invalid_request: AADSTS90002, .*tenant_id", 1),
        ("certificate", _another_tenant, IssueDenied, "invalid_request: AADSTS90002, .*tenant_id", 1),
        ("client_secret", _another_application, IssueDenied, "AADSTS700016, no application of this client_id", 1),
        ("certificate", _another_certificate, IssueDenied, "AADSTS700027, look at the certificate", 1),
        ("certificate", _another_key, ConfigurationError, "certificate_key is not the key of credentials.certificate", 0),
        ("client_secret", _wrong_secret, IssueDenied, r"AADSTS7000215, .*its value \(not its id\)", 1),
        ("client_secret", _no_secret, SecretNotFound, "secret 'app' not found", 0),
        ("managed_identity", _no_identity, CredentialUnavailable, "HTTP 400: no such identity is assigned here", 1),
        ("managed_identity user", _no_identity, CredentialUnavailable, "assign the identity that client_id names", 1),
        ("managed_identity", _nobody_answers, IssuerUnavailable, "what runs in Azure; name another credential_source", 1),
        ("managed_identity", _updating, IssuerUnavailable, "HTTP 410: it is asked again later", 1),
        ("managed_identity", _throttled, IssuerUnavailable, "HTTP 429", 1),
        ("managed_identity", _no_resource, IssueDenied, "invalid_resource: look at the scope", 1),
        ("managed_identity", _no_end, MalformedResponse, "without a token and its end", 1),
        ("managed_identity", _over, InsufficientLifetime, "over on arrival", 1),
        ("managed_identity", _a_page, MalformedResponse, "without JSON", 1),
        ("managed_identity user", _another_answer, MalformedResponse, "another identity's token", 1),
        ("managed_identity app service", _wrong_header, IssueDenied, "IDENTITY_ENDPOINT answered HTTP 401", 1),
        ("managed_identity app service", _no_header, ConfigurationError, "IDENTITY_ENDPOINT without IDENTITY_HEADER", 0),
        ("managed_identity app service", _elsewhere, ConfigurationError, "no URL of this machine", 0),
    ],
)
def test_a_fault_of_the_identity_is_told_apart_and_no_other_identity_is_tried(  # noqa: PLR0917 - one row, one column each
    azure: AzureWorld,
    kind: str,
    fault: Callable[[AzureWorld, dict[str, Any]], None],
    error_class: type[CredbrokerError],
    text: str,
    requests: int,
) -> None:
    # All the others would be at hand.
    for other in ("client_secret", "web_identity variable"):
        azure.identity(other)
    block = azure.identity(kind)
    fault(azure, block)
    with azure.broker(storage(block)) as broker:
        failure = _refused(error_class, broker.storage("lake", f"{LAKE}/sales").get, text)
    assert not getattr(failure, "grant_denied", False)
    assert len(azure.requests) == requests
    assert azure.blob.asked == []


def test_without_a_file_named_anywhere_web_identity_does_not_apply(azure: AzureWorld) -> None:
    block = azure.identity("web_identity variable")
    azure.machine.variables.clear()
    with azure.broker(storage(block)) as broker:
        source = broker.storage("lake", f"{LAKE}/sales")
        _refused(CredentialUnavailable, source.get, "finds no AZURE_FEDERATED_TOKEN_FILE: label the pod")
    assert azure.requests == []


def test_app_services_endpoint_may_be_a_link_local_address(azure: AzureWorld) -> None:
    block = azure.identity("managed_identity app service")
    azure.http.origins["http://169.254.129.2:8081"] = azure.identities.uri
    azure.machine.variables["IDENTITY_ENDPOINT"] = "http://169.254.129.2:8081/msi/token"
    with azure.broker(storage(block)) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
    assert azure.http.asked[0].link_local


def test_the_federated_token_is_read_at_each_issue(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("web_identity file"))) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
        azure.machine.files[FILE] = azure.entra.federated_token()
        broker.purge("lake")
        broker.storage("lake", f"{LAKE}/sales").get()
    shown = [asked.form["client_assertion"] for asked in azure.entra.asked]
    assert len(set(shown)) == 2


def test_the_next_secret_is_presented_once_after_invalid_client(azure: AzureWorld) -> None:
    block = azure.identity("client_secret")
    azure.kept.secrets |= {"app": "old", "app-next": min(azure.entra.client_secrets)}
    block["client_secret"] = {"secret_ref": "app", "next": "app-next"}
    with azure.broker(storage(block)) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
    assert [asked.form["client_secret"] for asked in azure.entra.asked] == ["old", azure.kept.secrets["app-next"]]


def test_the_next_certificate_is_presented_once_after_invalid_client(azure: AzureWorld) -> None:
    block = azure.identity("certificate")
    azure.kept.secrets |= {"next": azure.kept.secrets["cert"], "next-key": azure.kept.secrets["cert-key"]}
    azure.kept.secrets["cert"], azure.kept.secrets["cert-key"], _ = certificate()
    block["certificate"] = {"secret_ref": "cert", "next": "next"}
    block["certificate_key"] = {"secret_ref": "cert-key", "next": "next-key"}
    with azure.broker(storage(block)) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
    assert azure.requests == [_token(azure), _token(azure), KEY]


def test_another_profiles_token_is_the_assertion(azure: AzureWorld) -> None:
    azure.kept.secrets["workload"] = azure.entra.federated_token()
    block = {**azure.identity("web_identity file"), "subject_token": {"profile": "cluster"}}
    config = storage(block)
    config["compute"] = {"cluster": {"credentials": {"mode": "static", "secret_ref": "workload"}}}
    with azure.broker(config) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
    assert azure.entra.asked[0].form["client_assertion"] == azure.kept.secrets["workload"]
    assert azure.requests == [_token(azure), KEY]


def test_no_sdk_of_azure_is_loaded() -> None:
    code = (
        "import sys; from credbroker.providers.service_account_azure import AzureServiceAccount; "
        "import credbroker.providers._client_certificate, credbroker.providers._assertion, credbroker.secrets.azure; "
        "print([name for name in sys.modules if name.partition('.')[0] in ('azure', 'msal', 'botocore', 'boto3', 'google')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_key_that_cannot_be_taken_back_says_how_long_it_signs(azure: AzureWorld) -> None:
    with azure.broker(storage(azure.identity("client_secret"))) as broker:
        broker.storage("lake", f"{LAKE}/sales").get()
        told = [entry for entry in broker.revoke("lake") if "delegation key cannot" in str(entry["reason"])]
        (key,) = azure.blob.keys
        assert [entry["revoked"] for entry in told] == [False]
        assert str(key.signed_expiry).replace("T", " ").replace("Z", " UTC") in str(told[0]["reason"])
        broker.storage("lake", f"{LAKE}/sales").get()
    assert len(azure.blob.keys) == 2, "it is dropped all the same"
