"""A pod without a client secret: its projected token as bearer, as assertion, as grant and as subject, rotated under a job.

The certified server wants ``iss``, ``sub`` and the client's name to be one (OpenID Connect Core section 9), and takes each
``jti`` once: no cluster makes such tokens. It judges what is sent for a ``workload`` whose tokens are so. The issuer that
takes a cluster's own is played by ``FederatedIssuer``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.servers.cluster import SUBJECT, Cluster, Kubelet, ProjectedVolume, projected_token, signing_key
from tests.servers.federated import AUDIENCE, FederatedSeaweedFS
from tests.servers.federation import CLIENT, BearerCatalog, FederatedIssuer, jti_of
from tests.servers.jobs import Job, until
from tests.servers.oidc.clients import EXCHANGE, JWT_BEARER, SCOPES
from tests.servers.pods import bearing, federated
from tests.servers.store import entered, owned, platform

from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, InsufficientLifetime, IssueDenied, SecretNotFound
from credbroker.integrations.pyiceberg import load_catalog

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider, Received

ANALYST = SCOPES[0]
SHORT = timedelta(seconds=4)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path) -> ProjectedVolume:
    folder = tmp_path / "tokens"
    folder.mkdir()
    return ProjectedVolume(folder)


@pytest.fixture
def trusting(oidc: OidcProvider, cluster: Cluster) -> OidcProvider:
    """The certified server, which trusts the cluster."""
    oidc.trust(cluster.uri, cluster.jwks_uri)
    return oidc


def alive(broker: Broker, name: str = "c") -> Callable[[], AccessToken]:
    source = broker.catalog(name)

    def get() -> AccessToken:
        token = source.get()
        assert token.expires_at is not None
        assert token.expires_at > datetime.now(UTC)
        return token

    return get


def answered(oidc: OidcProvider) -> list[Received]:
    """The token requests, as far as they are over."""
    return [request for request in oidc.requests("/token") if request.status is not None]


def opened(oidc: OidcProvider, mount: Path, **block: Any) -> Broker:
    return Broker.from_config(oidc.platform(mount, c=block))


# -- who the client is: RFC 7523 section 2.2 --------------------------------------------------------------------------------


def test_an_assertion_of_a_workload_s_issuer_proves_the_client_to_a_certified_server(
    trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    volume.write(cluster.token(trusting.issuer, issuer="workload", sub="workload"))
    client = trusting.client("workload")
    with opened(trusting, tmp_path, **client.credentials(client_assertion={"file": str(volume.file)})) as broker:
        token = broker.catalog("c").get().value.get_secret_value()
    assert trusting.introspect(token)["client_id"] == "workload"
    (request,) = trusting.requests("/token")
    assert "authorization" not in request.headers


def test_the_assertion_alone_says_who_the_client_is(
    trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    volume.write(cluster.token(trusting.issuer, issuer="workload", sub="workload"))
    block = trusting.client("workload").credentials(client_assertion={"file": str(volume.file)}, client_id=None)
    with opened(trusting, tmp_path, **block) as broker:
        broker.catalog("c").get()
    (request,) = trusting.requests("/token")
    assert sorted(request.form) == ["client_assertion", "client_assertion_type", "grant_type", "scope"]


def test_assertions_of_four_seconds_rotate_under_a_job_at_a_certified_server(
    trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    trusting.token_lifetime(7)  # more than a rotation apart: this server takes each assertion once
    block = trusting.client("workload").credentials(client_assertion={"file": str(volume.file)})

    def make() -> str:
        return cluster.token(trusting.issuer, SHORT, issuer="workload", sub="workload")

    with Kubelet(volume, make, SHORT), opened(trusting, tmp_path, **block) as broker, Job(alive(broker)) as job:
        until(lambda: volume.writes >= 4 and len(answered(trusting)) >= 3)
    assert job.failures == []
    heard = answered(trusting)
    assert [request.error for request in heard] == [None] * len(heard)
    assert len({str(request.form["client_assertion"]) for request in heard}) == len(heard)


@pytest.mark.parametrize(("named", "code"), [({}, "invalid_request"), ({"client_id": None}, "invalid_client")])
def test_a_cluster_s_own_token_is_none_of_this_server_s_and_the_error_says_what_must_be_trusted(
    named: dict[str, Any], code: str, *, trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    volume.write(cluster.token(trusting.issuer))
    block = trusting.client("workload").credentials(client_assertion={"file": str(volume.file)}, **named)
    with opened(trusting, tmp_path, **block) as broker, pytest.raises(IssueDenied, match=rf"{code}.*the cluster") as no:
        broker.catalog("c").get()
    assert not no.value.grant_denied
    assert len(trusting.requests("/token")) == 1  # unchanged, so it is not shown twice


def test_a_client_that_is_named_beside_a_cluster_s_token_is_sent_with_it(cluster: Cluster, volume: ProjectedVolume) -> None:
    with FederatedIssuer(cluster.uri) as issuer:
        volume.write(cluster.token(issuer.uri))
        with Broker.from_config(federated(issuer, volume, client_id=CLIENT)) as broker:
            broker.catalog("c").get()
        assert issuer.asked[0].form["client_id"] == CLIENT


def test_a_cluster_s_tokens_rotate_under_a_job_at_an_issuer_that_takes_them(
    cluster: Cluster, volume: ProjectedVolume
) -> None:
    with FederatedIssuer(cluster.uri, lifetime=4) as issuer:

        def make() -> str:
            return cluster.token(issuer.uri, SHORT)

        with (
            Kubelet(volume, make, SHORT),
            Broker.from_config(federated(issuer, volume)) as broker,
            Job(alive(broker)) as job,
        ):
            until(lambda: len(set(issuer.shown)) >= 4)
    assert job.failures == []
    # An issue each 2 s or so, whatever the job asks: the same assertion is shown again until the kubelet replaces it.
    assert len(issuer.shown) <= 2.5 * len(set(issuer.shown)) + 2 < job.done


def test_an_assertion_that_was_replaced_while_it_was_refused_is_read_again_and_sent_once_more(
    cluster: Cluster, volume: ProjectedVolume
) -> None:
    with FederatedIssuer(cluster.uri) as issuer:
        good, bad = cluster.token(issuer.uri), projected_token(issuer.uri, issuer=cluster.uri, key=signing_key("old"))
        volume.write(bad)

        answer = issuer.answer

        def replacing(asked: Any) -> Any:
            said = answer(asked)
            volume.write(good)
            return said

        issuer.answer = replacing  # type: ignore[method-assign]
        with Broker.from_config(federated(issuer, volume)) as broker:
            broker.catalog("c").get()
        assert issuer.shown == [bad, good]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"key": "another-cluster"}, "signed by a cluster that it does not trust"),
        ({"issuer": "https://other.example"}, "of another cluster"),
        ({"aud": ["https://kubernetes.default.svc"]}, "the pod's default token"),
        ({"sub": "system:serviceaccount:data:default"}, "of another service account"),
    ],
)
def test_an_issuer_that_does_not_trust_it_leads_to_the_trust(
    made: dict[str, Any], why: str, cluster: Cluster, volume: ProjectedVolume
) -> None:
    claims = {"issuer": cluster.uri} | {name: signing_key(one) if name == "key" else one for name, one in made.items()}
    with FederatedIssuer(cluster.uri) as issuer, Broker.from_config(federated(issuer, volume)) as broker:
        token = projected_token(issuer.uri, **claims)
        volume.write(token)
        with pytest.raises(IssueDenied, match=r"invalid_client.*whether the issuer trusts who signed it.*its subject") as no:
            broker.catalog("c").get()
        assert issuer.shown == [token], why
    assert not no.value.grant_denied
    assert token not in str(no.value)


# -- as the grant, and as the subject: RFC 7523 section 2.1, RFC 8693 -------------------------------------------------------


@pytest.mark.parametrize("name", ["public", "basic", "rs256"])
def test_a_projected_token_is_the_grant(
    name: str, trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    volume.write(cluster.token(trusting.issuer) + "\n")
    block = trusting.client(name).credentials(grant_type="jwt-bearer", subject_token={"file": str(volume.file)})
    with opened(trusting, tmp_path, **block) as broker:
        token = broker.catalog("c").get().value.get_secret_value()
    known = trusting.introspect(token)
    assert (known["client_id"], known["sub"], known["scope"]) == (name, SUBJECT, ANALYST)
    (request,) = trusting.requests("/token")
    assert request.form["grant_type"] == JWT_BEARER
    assert not {"subject_token", "subject_token_type", "requested_token_type"} & set(request.form)


@pytest.mark.parametrize("grant", [EXCHANGE, JWT_BEARER])
def test_tokens_of_four_seconds_rotate_under_a_job_that_has_no_secret(
    grant: str, trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    trusting.token_lifetime(4)
    block = trusting.client("public").credentials(grant_type=grant, subject_token={"file": str(volume.file)})

    def make() -> str:
        return cluster.token(trusting.issuer, SHORT)

    shown = "assertion" if grant == JWT_BEARER else "subject_token"

    def different() -> set[str]:
        return {str(request.form[shown]) for request in answered(trusting)}

    with Kubelet(volume, make, SHORT), opened(trusting, tmp_path, **block) as broker, Job(alive(broker)) as job:
        until(lambda: len(different()) >= 4)
        token = broker.catalog("c").get().value.get_secret_value()
    assert job.failures == []
    assert {request.error for request in answered(trusting)} == {None}
    assert trusting.introspect(token)["sub"] == SUBJECT
    assert len(answered(trusting)) <= 2.5 * len(different()) + 2 < job.done


@pytest.mark.parametrize(("grant", "code"), [("token-exchange", "invalid_request"), ("jwt-bearer", "invalid_grant")])
def test_a_server_that_does_not_trust_the_cluster_is_named(
    grant: str, code: str, *, oidc: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    volume.write(cluster.token(oidc.issuer))
    block = oidc.client("public").credentials(grant_type=grant, subject_token={"file": str(volume.file)})
    with opened(oidc, tmp_path, **block) as broker, pytest.raises(IssueDenied, match=rf"{code}.*subject_token") as no:
        broker.catalog("c").get()
    assert no.value.grant_denied == (code == "invalid_grant")
    assert len(oidc.requests("/token")) == 1


@pytest.mark.parametrize("grant", ["token-exchange", "jwt-bearer", "client_credentials"])
def test_what_is_over_or_half_written_is_not_sent_and_takes_nothing_away(
    grant: str, trusting: OidcProvider, cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    shown = {"file": str(volume.file)}
    block = (
        trusting.client("workload").credentials(client_assertion=shown)
        if grant == "client_credentials"
        else trusting.client("public").credentials(grant_type=grant, subject_token=shown)
    )
    with opened(trusting, tmp_path, **block) as broker:
        for content, error in (
            ("", SecretNotFound),
            (cluster.token(trusting.issuer)[:-400].rpartition(".")[0], SecretNotFound),
            (cluster.token(trusting.issuer, now=datetime.now(UTC) - timedelta(hours=2)), InsufficientLifetime),
        ):
            volume.write(content)
            with pytest.raises(error, match="the file of credentials"):
                broker.catalog("c").get()
            broker.purge("c")
    assert trusting.requests("/token") == []


# -- as a bearer ------------------------------------------------------------------------------------------------------------


def test_bearers_rotate_under_a_catalog_of_pyiceberg(cluster: Cluster, volume: ProjectedVolume) -> None:
    lifetime = timedelta(seconds=8)

    def make() -> str:
        return cluster.token("lakekeeper", lifetime)

    with (
        BearerCatalog(cluster.uri, "lakekeeper") as lakekeeper,
        # The last fifth of so short a life is less than what is kept back of it: replaced at a fifth instead, each 1.6 s.
        Kubelet(volume, make, lifetime / 4),
        Broker.from_config(bearing(lakekeeper, volume)) as broker,
    ):
        catalog = load_catalog(broker, "lake")

        def work() -> None:
            assert catalog.list_namespaces() == [("sales",)]

        with Job(work) as job:
            until(lambda: len({jti_of(token) for token in set(lakekeeper.bearers)}) >= 3)
        assert job.failures == []
        assert lakekeeper.refused == 0


def test_a_bearer_for_another_audience_does_not_leave_this_machine(cluster: Cluster, volume: ProjectedVolume) -> None:
    volume.write(cluster.token("https://kubernetes.default.svc"))
    with (
        BearerCatalog(cluster.uri, "lakekeeper") as lakekeeper,
        Broker.from_config(bearing(lakekeeper, volume)) as broker,
        pytest.raises(ConfigurationError, match=r"not for the audience 'lakekeeper'.*serviceAccountToken volume"),
    ):
        load_catalog(broker, "lake")
    assert lakekeeper.calls == []


# -- the way there ----------------------------------------------------------------------------------------------------------


def test_a_catalog_is_moved_from_a_static_token_to_the_pod_s_own_under_a_job(
    cluster: Cluster, volume: ProjectedVolume, tmp_path: Path
) -> None:
    path = tmp_path / "platform.yaml"
    pasted = cluster.token("lakekeeper")
    (tmp_path / "lake-token").write_text(pasted)
    volume.write(cluster.token("lakekeeper"))
    own = volume.file.read_text()
    with BearerCatalog(cluster.uri, "lakekeeper") as lakekeeper:

        def write(block: dict[str, Any]) -> None:
            config = bearing(lakekeeper, volume) | {"secret_backends": [{"type": "files", "path": str(tmp_path)}]}
            config["catalogs"]["lake"]["credentials"] = block
            path.write_text(yaml.safe_dump(config))

        workload = bearing(lakekeeper, volume)["catalogs"]["lake"]["credentials"]
        write({"mode": "static", "secret_ref": "lake-token"})
        with Broker.from_yaml(path) as broker:
            catalog, source = load_catalog(broker, "lake"), broker.catalog("lake")

            def work() -> None:
                source.get()
                assert catalog.list_namespaces() == [("sales",)]

            with Job(work) as job:
                until(lambda: job.done >= 10)
                assert set(lakekeeper.bearers) == {pasted}
                write(workload)
                broker.reload()
                (tmp_path / "lake-token").unlink()
                until(lambda: lakekeeper.bearers[-1] == own)
                done = job.done
                until(lambda: job.done >= done + 10)
                assert source.get().value.get_secret_value() == own
            assert job.failures == []
        assert lakekeeper.refused == 0
        assert set(lakekeeper.bearers[-10:]) == {own}


class OfCluster(FederatedSeaweedFS):
    """A store whose STS takes the cluster's tokens, and gives sessions of 4 s for them."""

    def __init__(self, cluster: Cluster) -> None:
        SeaweedFS.__init__(self, session=SHORT)
        self._cluster = cluster
        self._issuer = SimpleNamespace(issuer=cluster.uri)  # type: ignore[assignment]

    def _roles(self) -> dict[str, Any]:
        roles = super()._roles()
        roles["providers"][0]["config"]["jwksUri"] = self._cluster.jwks_uri  # type: ignore[index]
        return roles


def test_a_store_is_moved_from_static_keys_to_the_pod_s_identity_under_a_job(
    cluster: Cluster, volume: ProjectedVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    path, mount = tmp_path / "platform.yaml", tmp_path / "secrets"
    mount.mkdir()

    def make() -> str:
        return cluster.token(AUDIENCE, SHORT)

    with OfCluster(cluster) as store, Kubelet(volume, make, SHORT):
        (mount / "lake-keys").write_text(f"{store.access_key}:{store.secret_key}")
        with owned(store) as owner:
            owner.put_object(Bucket="lake", Key="sales/orders", Body=b"1")

        def write(**lake: Any) -> None:
            config = platform(store) | {"secret_backends": [{"type": "files", "path": str(mount)}]}
            config["storage"] = {"lake": config["storage"]["lake"] | lake}
            path.write_text(yaml.safe_dump(config))

        by_pod = {
            "mode": "iam_role",
            "credential_source": "web_identity",
            "subject_token": {"file": str(volume.file)},
            "role_arn": store.federated_arn,
            "sts_endpoint": store.sts_endpoint,
        }
        write(credentials={"mode": "static", "secret_ref": "lake-keys"}, allow_unscoped=True)
        with Broker.from_yaml(path) as broker:
            source = broker.storage("lake", "s3://lake/sales", access="read")
            sessions: set[str | None] = set()

            def work() -> None:
                value = source.get()
                token = value.session_token.get_secret_value() if value.session_token else None
                secret = value.secret_access_key.get_secret_value()
                with entered(store.s3_endpoint, value.access_key_id, secret, token) as s3:
                    assert s3.get_object(Bucket="lake", Key="sales/orders")["Body"].read() == b"1"
                sessions.add(token)

            with Job(work) as job:
                until(lambda: job.done >= 5)
                assert sessions == {None}
                write(credentials=by_pod)
                broker.reload()
                (mount / "lake-keys").unlink()
                rotations = volume.writes
                until(lambda: volume.writes >= rotations + 3 and len(sessions) >= 4)
            assert job.failures == []
