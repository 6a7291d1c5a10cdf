"""``iam_role``: storage at two real STS and at AWS's own as it is played, signed catalogs, and logins of engines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from credbroker.credentials import S3Credentials
from tests.servers.cells.cell import Cell, Scene, Scenes, Stage
from tests.servers.cells.opening import Opening
from tests.servers.counted import Counted
from tests.servers.federated import AUDIENCE
from tests.servers.imds import ADDRESS, EKS_ADDRESS, ContainerAgent, InstanceMetadata
from tests.servers.store import closed, entered, platform
from tests.servers.sts import Identity, Sts, Trust

if TYPE_CHECKING:
    from credbroker import Broker
    from tests.servers.federated import FederatedCeph, FederatedSeaweedFS
    from tests.servers.oidc.provider import OidcProvider

ROLE, TASK = (f"arn:aws:iam::123456789012:role/{name}" for name in ("Pipe", "Task"))
REGION = "eu-west-1"
STORES = ("SeaweedFS", "Ceph")
_VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
)
Placed = Callable[[Stage], AbstractContextManager[Scene]]


def bare(stage: Stage) -> None:
    """No identity but what the cell itself puts there."""
    for name in _VARIABLES:
        stage.patch.delenv(name, raising=False)


def _by_boto3(stage: Stage, endpoint: str, region: str, role: str, *, token: str | None = None) -> Callable[[], object]:
    """The role by boto3, with the identity that its own chain finds; by ``token``, where there is one."""
    client: list[Any] = []  # one for all calls: what it holds of the base identity counts

    def assume() -> object:
        if not client:
            config = Config(retries={"total_max_attempts": 1}, proxies={})
            client.append(boto3.session.Session().client("sts", region, endpoint_url=endpoint, config=config))
            stage.running.callback(client[0].close)
        asked = {"RoleArn": role, "RoleSessionName": "by-boto3", "DurationSeconds": 3600}
        if token is not None:
            return client[0].assume_role_with_web_identity(**asked, WebIdentityToken=token)
        return client[0].assume_role(**asked)

    return assume


# -- storage, at two real stores -------------------------------------------------------------------------------------------


def _at_store(how: str, store_name: str) -> Placed:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        bare(stage)
        issuer: OidcProvider = stage.fixture("identities_issuer")
        store: FederatedSeaweedFS | FederatedCeph = stage.fixture(f"identities_{store_name.lower()}")
        token = stage.folder / "token"
        token.write_text(issuer.subject(resource=AUDIENCE) + "\n")
        issuer.reset()
        with Counted(store.sts_endpoint) as sts:
            at = {"sts_endpoint": sts.url}
            by_token = at | {"credential_source": "web_identity", "role_arn": store.federated_arn}
            file = {"subject_token": {"file": str(token)}}
            boto3_call: Callable[[], object] | None = None
            if how == "environment":
                config = platform(store, **at)
                boto3_call = _by_boto3(stage, sts.url, "us-east-1", store.role_arn)
            elif how == "default_chain":
                config = platform(store, **at, credential_source="default_chain")
            elif how == "web_identity, file":
                config = platform(store, **by_token, **file)
                boto3_call = _by_boto3(stage, sts.url, "us-east-1", store.federated_arn, token=token.read_text().strip())
            elif how == "web_identity, oauth2 profile":
                mount = stage.folder / "secrets"
                mount.mkdir()
                lent = issuer.platform(mount, issuer=issuer.client("post").credentials(resource=[AUDIENCE]))
                config = platform(store, **by_token, subject_token={"profile": "issuer"}) | lent
            else:
                config = platform(store, **at, role_arn=store.next_arn, source_profile="hub")
                del config["storage"]["lake"]["credentials"]["credential_source"]
                config["storage"]["hub"] = _hub(store, by_token | file)
            del config["storage"]["escaping"]
            if how in ("environment", "default_chain"):
                stage.patch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
                stage.patch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)

            def asked() -> int:
                return len(sts.calls) + len(issuer.requests("/token"))

            ask, further = (("storage", "lake", f"s3://lake/{prefix}", "read") for prefix in ("sales", "finance"))
            scene = Scene(Opening(config), ask, asked, _opens, further)
            if boto3_call is not None:
                scene.sdk = lambda: [boto3_call, boto3_call]
            yield scene

    return set_up


def _hub(store: FederatedSeaweedFS | FederatedCeph, block: dict[str, Any]) -> dict[str, Any]:
    hub: dict[str, Any] = platform(store, **{**block, "role_arn": store.hub_arn})["storage"]["lake"]
    return {**hub, "locations": []}


def _opens(_: Broker, value: S3Credentials) -> None:
    """Its own prefix, and no other."""
    assert value.session_token is not None
    secret, token = value.secret_access_key.get_secret_value(), value.session_token.get_secret_value()
    (prefix,) = (str(one).removeprefix("s3://lake/").rstrip("/") for one in value.locations or ())
    other = {"sales": "finance", "finance": "sales"}[prefix]
    with entered(value.endpoint or "", value.access_key_id, secret, token) as s3:
        assert s3.get_object(Bucket="lake", Key=f"{prefix}/orders")["Body"].read() == b"1"
        closed(s3, "lake", f"{other}/orders")


# -- storage, with the identities that AWS alone lends ---------------------------------------------------------------------


def _lent(how: str) -> Placed:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        bare(stage)
        with ExitStack() as running:
            sts = running.enter_context(Sts())
            server: InstanceMetadata | ContainerAgent
            if how == "imds":
                server = running.enter_context(InstanceMetadata())
                origins = {ADDRESS: server.uri}
            else:
                server = running.enter_context(ContainerAgent("/v1/credentials", authorization="agent-token"))
                origins = {EKS_ADDRESS: server.uri}
                (stage.folder / "token").write_text("agent-token")
                stage.patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{EKS_ADDRESS}{server.path}")
                stage.patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(stage.folder / "token"))
            lender = server.lender
            sts.identities[lender.access_key_id] = Identity(TASK, lender.secret_access_key, lender.token)
            sts.roles[ROLE] = Trust({TASK})
            role = {"mode": "iam_role", "role_arn": ROLE, "credential_source": how}
            lake = {"region": REGION, "locations": ["s3://lake/"], "access": "read_write", "credentials": role}
            opening = Opening(
                {"environment": "test", "storage": {"lake": lake}}, {f"https://{sts.host}": sts.uri, **origins}
            )
            ask, further = (("storage", "lake", f"s3://lake/{prefix}", "read") for prefix in ("sales", "finance"))

            def accepted(broker: Broker, value: S3Credentials) -> None:
                assert sts.identities[value.access_key_id].secret == value.secret_access_key.get_secret_value()
                (location,) = value.locations or ()
                assert sts.sessions[-1].policy == broker.storage("lake", location).explain().policy
                assert sts.sessions[-1].role == ROLE

            def by_boto3() -> list[Callable[[], object]]:
                sts.host = urlsplit(sts.uri).netloc  # it goes to no host that is played
                stage.patch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
                stage.patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.uri)
                if how != "imds":
                    stage.patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.uri}{server.path}")  # type: ignore[union-attr]
                return [_by_boto3(stage, sts.uri, REGION, ROLE)] * 2

            yield Scene(opening, ask, lambda: len(sts.asked) + len(server.asked), accepted, further, sdk=by_boto3)

    return set_up


AWS = "wire check: docs.aws.amazon.com"
SDK = frozenset({"botocore"})


def _cells() -> list[Cell]:
    kind: Any = S3Credentials
    real: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
        "environment": ((1, 1), (1, 1)),
        "default_chain": ((1, 1), ()),
        "web_identity, file": ((1, 1), (1, 1)),
        "web_identity, oauth2 profile": ((2, 1), ()),
        "source_profile (chain of two)": ((2, 1), ()),
    }
    cells = [
        Cell("iam_role", f"storage: {how}", "aws", name, cost, kind, _at_store(how, name), SDK, sdk, name.lower())
        for how, (cost, sdk) in real.items()
        for name in STORES
    ]
    lent = {
        "container": ((2, 2), (2, 1), f"{AWS}/sdkref/latest/guide/feature-container-credentials.html"),
        "pod_identity": ((2, 2), (2, 1), f"{AWS}/eks/latest/userguide/pod-id-how-it-works.html"),
        "imds": ((4, 4), (4, 1), f"{AWS}/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html"),
    }
    cells += [
        Cell("iam_role", f"storage: {how}", "aws", page, cost, kind, _lent(how), SDK, sdk)
        for how, (cost, sdk, page) in lent.items()
    ]
    return cells


CELLS = _cells()
