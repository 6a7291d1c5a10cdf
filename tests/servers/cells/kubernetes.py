"""A pod's projected token: ``service_account`` on Kubernetes as a bearer, and in ``oauth2`` instead of a client secret."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from credbroker.credentials import AccessToken
from credbroker.integrations.pyiceberg import load_catalog
from tests.servers.cells.cell import Cell, Scene, Scenes, Stage
from tests.servers.cells.opening import Opening
from tests.servers.cluster import SUBJECT, Cluster, ProjectedVolume
from tests.servers.federation import BearerCatalog, FederatedIssuer
from tests.servers.pods import bearing, federated

if TYPE_CHECKING:
    from credbroker import Broker
    from tests.servers.oidc.provider import OidcProvider


def _volume(stage: Stage) -> ProjectedVolume:
    folder = stage.folder / "tokens"
    folder.mkdir()
    return ProjectedVolume(folder)


@contextmanager
def _bearer(stage: Stage) -> Scenes:
    volume = _volume(stage)
    with Cluster() as cluster, BearerCatalog(cluster.uri, "lakekeeper") as lakekeeper:
        volume.write(cluster.token("lakekeeper"))

        def accepted(broker: Broker, value: AccessToken) -> None:
            assert load_catalog(broker, "lake").list_namespaces() == [("sales",)]
            assert lakekeeper.bearers[-1] == value.value.get_secret_value()
            assert lakekeeper.refused == 0
            lakekeeper.asked.clear()

        opening = Opening(bearing(lakekeeper, volume))
        yield Scene(opening, ("catalog", "lake"), lambda: len(lakekeeper.asked), accepted)


@contextmanager
def _keycloak(stage: Stage) -> Scenes:
    volume = _volume(stage)
    with Cluster() as cluster, FederatedIssuer(cluster.uri) as issuer:
        volume.write(cluster.token(issuer.uri))

        def accepted(_: Broker, value: AccessToken) -> None:
            assert value.value.get_secret_value() == f"token-{len(issuer.shown)}"  # it verified what was shown

        opening = Opening(federated(issuer, volume))
        yield Scene(opening, ("catalog", "c"), lambda: len(issuer.asked), accepted)


def _certified(how: str) -> Callable[[Stage], AbstractContextManager[Scene]]:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        volume = _volume(stage)
        issuer: OidcProvider = stage.fixture("oidc")
        mount = stage.folder / "secrets"
        mount.mkdir()
        with Cluster() as cluster:
            issuer.trust(cluster.uri, cluster.jwks_uri)
            shown: dict[str, Any] = {"file": str(volume.file)}
            proves = how == "client_assertion"
            # This server wants the issuer, the subject and the client's name to be one, and takes each token once.
            claims = {"issuer": "workload", "sub": "workload"} if proves else {}

            def rotate() -> None:
                volume.write(cluster.token(issuer.issuer, **claims))

            rotate()
            block = (
                issuer.client("workload").credentials(client_assertion=shown)
                if proves
                else issuer.client("public").credentials(grant_type=how, subject_token=shown)
            )

            def accepted(_: Broker, value: AccessToken) -> None:
                known = issuer.introspect(value.value.get_secret_value())
                assert known["active"]
                assert known["client_id" if proves else "sub"] == ("workload" if proves else SUBJECT)

            def asked() -> int:
                return len(issuer.requests("/token"))

            opening = Opening(issuer.platform(mount, c=block))
            yield Scene(opening, ("catalog", "c"), asked, accepted, between=rotate)

    return set_up


_LAKEKEEPER = "wire check: docs.lakekeeper.io, Authentication, Kubernetes"
_KEYCLOAK = "wire check: Keycloak server administration guide, Signed JWT - Federated"
CELLS = [
    Cell("service_account", "catalog: bearer", "kubernetes", _LAKEKEEPER, (0, 0), AccessToken, _bearer),
    Cell("oauth2", "catalog: client assertion", "kubernetes", _KEYCLOAK, (1, 1), AccessToken, _keycloak),
    *(
        Cell("oauth2", f"catalog: {name}", "kubernetes", "oidc-provider", (1, 1), AccessToken, _certified(how))
        for name, how in (
            ("client assertion, of its own issuer", "client_assertion"),
            ("jwt-bearer grant", "jwt-bearer"),
            ("exchange", "token-exchange"),
        )
    ),
]
