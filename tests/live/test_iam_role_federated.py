"""``iam_role`` without a key: two STS take the tokens of a certified issuer, and narrow what they give as ever."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.servers import ceph as cephs
from tests.servers.federated import AUDIENCE, FederatedCeph, FederatedSeaweedFS
from tests.servers.oidc import provider as oidc_providers
from tests.servers.oidc.provider import OidcProvider
from tests.servers.store import closed, entered, granted, listed, owned, platform, refused

from credbroker import Broker
from credbroker.brokerage import Brokerage
from credbroker.errors import ConfigurationError, CredbrokerError, InsufficientLifetime, IssueDenied, SecretNotFound

Federated = FederatedSeaweedFS | FederatedCeph
KEYS = ("sales/orders", "sales/2026/may", "sales2/orders", "other", "finance/ledger")


@pytest.fixture(scope="module")
def issuer() -> Iterator[OidcProvider]:
    """One of this module's own: what others do to the shared one would change its tokens."""
    if not oidc_providers.installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"oidc-provider is not installed: {oidc_providers.INSTALL}")
    with OidcProvider() as server:
        yield server


@pytest.fixture(scope="module", params=["seaweed", "ceph"])
def federated(request: pytest.FixtureRequest, issuer: OidcProvider) -> Iterator[Federated]:
    if request.param == "ceph" and not cephs.installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Ceph is not installed: {cephs.INSTALL}")
    kind = FederatedCeph if request.param == "ceph" else FederatedSeaweedFS
    with ExitStack() as running:
        store: Federated = running.enter_context(kind(issuer))
        with owned(store) as owner:
            for bucket in {"lake", "pond"} - {bucket["Name"] for bucket in owner.list_buckets()["Buckets"]}:
                owner.create_bucket(Bucket=bucket)
            for key in KEYS:
                owner.put_object(Bucket="lake", Key=key, Body=key.encode())
            owner.put_object(Bucket="pond", Key="sales/orders", Body=b"")
        yield store


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch, issuer: OidcProvider) -> None:
    """There is no other identity to fall to; the issuer is as new."""
    issuer.reset()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def token_file(tmp_path: Path, issuer: OidcProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token as a pod has it, where EKS says that it is."""
    path = tmp_path / "token"
    path.write_text(issuer.subject(resource=AUDIENCE) + "\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    return path


def by_token(store: Federated, **credentials: Any) -> dict[str, Any]:
    block = {"credential_source": "web_identity", "role_arn": store.federated_arn, **credentials}
    return platform(store, **block)


def by_profile(store: Federated, issuer: OidcProvider, mount: Path, **credentials: Any) -> dict[str, Any]:
    """The token of a catalog's profile, which the issuer gives for the store's audience."""
    lent = issuer.platform(mount, issuer=issuer.client("post").credentials(resource=[AUDIENCE]))
    return {**by_token(store, subject_token={"profile": "issuer"}, **credentials), **lent}


def chained(store: Federated, **credentials: Any) -> dict[str, Any]:
    """Two profiles: ``hub`` by the token, and ``lake`` with hub's session."""
    config = platform(store, role_arn=store.next_arn, source_profile="hub", **credentials)
    del config["storage"]["lake"]["credentials"]["credential_source"]
    del config["storage"]["escaping"]
    hub = by_token(store, role_arn=store.hub_arn)["storage"]["lake"]
    config["storage"]["hub"] = {**hub, "locations": []}
    return config


Made = Callable[[Federated, OidcProvider, Path], dict[str, Any]]


@pytest.mark.usefixtures("token_file")
@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda store, issuer, mount: by_token(store), id="by file"),
        pytest.param(by_profile, id="by an oauth2 profile"),
        pytest.param(lambda store, issuer, mount: chained(store), id="by a chain of two roles"),
    ],
)
def test_what_is_granted_works_and_what_is_beside_it_is_refused(
    federated: Federated, issuer: OidcProvider, tmp_path: Path, made: Made
) -> None:
    with Broker.from_config(made(federated, issuer, tmp_path)) as broker:
        with granted(broker, "s3://lake/sales", access="read") as client:
            assert client.get_object(Bucket="lake", Key="sales/orders")["Body"].read() == b"sales/orders"
            assert {"sales/orders", "sales/2026/may"} <= listed(client, "lake", "sales/")
            refused(client.put_object, Bucket="lake", Key="sales/new", Body=b"")
            refused(client.delete_object, Bucket="lake", Key="sales/orders")
            for key in ("sales2/orders", "other", "finance/ledger"):
                closed(client, "lake", key)
            closed(client, "pond", "sales/orders")
            refused(client.list_objects_v2, Bucket="lake", Prefix="sales")
            refused(client.list_objects_v2, Bucket="lake")
        with granted(broker, "s3://lake/sales", access="write") as client:
            client.put_object(Bucket="lake", Key="sales/written", Body=b"1")
            refused(client.get_object, Bucket="lake", Key="sales/written")
            closed(client, "lake", "sales2/orders")


def test_a_rotated_file_counts_at_the_next_issue(federated: Federated, issuer: OidcProvider, token_file: Path) -> None:
    with Broker.from_config(by_token(federated)) as broker:
        source = broker.storage("lake", "s3://lake/sales", access="read")
        first = source.get()
        token_file.write_text("half a token")
        assert source.invalidate(first)
        with pytest.raises(SecretNotFound, match="is no whole signed JWT"):
            source.get()
        token_file.write_text(issuer.subject(resource=AUDIENCE))
        broker.purge("lake")
        assert source.get() != first


def failure(config: dict[str, Any], kind: type[CredbrokerError], text: str) -> CredbrokerError:
    with Broker.from_config(config) as broker, pytest.raises(kind, match=text) as caught:
        broker.storage("lake", "s3://lake/sales", access="read").get()
    return caught.value


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_half_written_token_is_named_and_not_sent(federated: Federated, token_file: Path, cut: int) -> None:
    whole = token_file.read_text()
    token_file.write_text(whole[:cut])
    failure(by_token(federated), SecretNotFound, f"the file of AWS_WEB_IDENTITY_TOKEN_FILE, '{token_file}', holds")


def test_a_role_that_does_not_trust_the_issuer_is_a_refused_grant(federated: Federated, token_file: Path) -> None:
    config = by_token(federated, role_arn=federated.next_arn)
    error = failure(config, IssueDenied, "AssumeRoleWithWebIdentity.*Federated principal")
    assert isinstance(error, IssueDenied)
    assert error.grant_denied


def test_a_token_for_another_audience_is_refused_and_the_token_is_named(
    federated: Federated, issuer: OidcProvider, token_file: Path
) -> None:
    token_file.write_text(issuer.subject(resource="https://catalog.example/"))
    failure(by_token(federated), IssueDenied, "audience|aud, sub")


def test_a_chain_longer_than_an_hour_is_refused_before_anybody_is_asked(federated: Federated, token_file: Path) -> None:
    config = chained(federated)
    config["storage"]["lake"]["max_ttl"] = "2h"
    with (
        Broker.from_config(config) as broker,
        pytest.raises(ConfigurationError, match=r"max_ttl is over 1h.*source_profile"),
    ):
        broker.storage("lake", "s3://lake/sales", access="read")


def test_the_session_that_a_role_is_chained_from_opens_nothing(
    federated: Federated, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its policy has one action on one role: what a store makes of that is seen at the store."""
    seen: list[Any] = []
    inline = Brokerage._get_inline

    def noting(self: Brokerage, request: Any) -> Any:
        value = inline(self, request)
        seen.append((request, value))
        return value

    monkeypatch.setattr(Brokerage, "_get_inline", noting)
    with Broker.from_config(chained(federated)) as broker:
        broker.storage("lake", "s3://lake/sales", access="read").get()
    ((request, value),) = seen
    assert request.base == f"sts:AssumeRole {federated.next_arn}"
    with entered(
        federated.s3_endpoint,
        value.access_key_id,
        value.secret_access_key.get_secret_value(),
        value.session_token.get_secret_value(),
    ) as client:
        closed(client, "lake", "sales/orders")


def test_an_expired_token_is_not_sent(federated: Federated, token_file: Path) -> None:
    header, claims, signature = token_file.read_text().strip().split(".")
    over = json.loads(urlsafe_b64decode(claims + "==")) | {"exp": 1_700_000_000}
    claims = urlsafe_b64encode(json.dumps(over).encode()).decode().rstrip("=")
    token_file.write_text(f"{header}.{claims}.{signature}")
    failure(by_token(federated), InsufficientLifetime, "ended .* ago by this machine's clock")
