"""``iam_role`` where its keys sign: catalogs, and logins of engines."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from credbroker.credentials import DatabaseCredentials, S3Credentials
from credbroker.integrations.pyiceberg import load_catalog
from tests.servers import redshift
from tests.servers.cells.aws import AWS, REGION, ROLE, SDK, bare
from tests.servers.cells.cell import Cell, Scene, Scenes, Stage
from tests.servers.cells.opening import Opening
from tests.servers.counted import Counted
from tests.servers.signed_catalogs import glue_platform, make_glue_role, open_tables, rest_platform, table_bucket
from tests.servers.signed_proxy import SignedProxy
from tests.servers.sts import Sts, Trust

if TYPE_CHECKING:
    from credbroker import Broker
    from tests.servers.aws import Aws
    from tests.servers.federated import FederatedSeaweedFS


# -- catalogs --------------------------------------------------------------------------------------------------------------


def _signs(proxy: SignedProxy, name: str, broker: Broker, value: S3Credentials) -> None:
    """The catalog takes what is signed with those keys."""
    before = len(proxy.asked)
    load_catalog(broker, name).list_namespaces()
    assert len(proxy.asked) > before
    for asked in proxy.asked[before:]:
        assert asked.key == value.access_key_id
        assert asked.is_signed_with(value.secret_access_key.get_secret_value())


@contextmanager
def _rest(kind: str, stage: Stage) -> Scenes:
    bare(stage)
    store: FederatedSeaweedFS = stage.fixture("identities_seaweedfs")
    stage.patch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    stage.patch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
    open_tables(store)
    with SignedProxy(store.catalog_uri) as proxy, Counted(store.sts_endpoint) as sts:
        config = rest_platform(store, proxy.uri)
        lake = config["catalogs"]["stored"]
        lake["credentials"]["sts_endpoint"] = sts.url
        if kind == "s3tables":
            lake |= {"type": "s3tables", "region": "us-east-1", "warehouse": table_bucket(store)}
            del lake["properties"], lake["storage"]
        del config["catalogs"]["vended"]
        yield Scene(Opening(config), ("catalog", "stored"), lambda: len(sts.calls), partial(_signs, proxy, "stored"))


@contextmanager
def _glue(stage: Stage) -> Scenes:
    aws: Aws = stage.fixture("moto_aws")
    store: FederatedSeaweedFS = stage.fixture("identities_seaweedfs")
    make_glue_role(aws)
    stage.patch.setenv("LAKE_KEYS", f"{store.access_key}:{store.secret_key}")
    with SignedProxy(f"http://127.0.0.1:{aws.port}") as proxy:
        opening = Opening(glue_platform(aws, proxy, store))
        yield Scene(opening, ("catalog", "glue"), lambda: len(aws.calls), partial(_signs, proxy, "glue"))


# -- compute ---------------------------------------------------------------------------------------------------------------

DATABASE = "reports.abc123.eu-west-1.rds.amazonaws.com"


@contextmanager
def _rds(stage: Stage) -> Scenes:
    bare(stage)
    with Sts() as sts:
        key, secret = sts.user("pod")
        sts.roles[ROLE] = Trust({sts.identities[key].arn})
        stage.patch.setenv("AWS_ACCESS_KEY_ID", key)
        stage.patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        role = {"mode": "iam_role", "role_arn": ROLE, "credential_source": "environment"}
        engine = {"type": "postgres", "region": REGION, "credentials": role}
        engine["properties"] = {"host": DATABASE, "user": "pipeline"}

        def accepted(_: Broker, value: DatabaseCredentials) -> None:
            assert value.password is not None
            assert _is_signed(value.password.get_secret_value(), sts)

        opening = Opening({"environment": "test", "compute": {"reports": engine}}, {f"https://{sts.host}": sts.uri})
        yield Scene(opening, ("compute", "reports"), lambda: len(sts.asked), accepted)


def _is_signed(token: str, sts: Sts) -> bool:
    """As the database sees it: the URL that the token is, signed with the keys of a session that STS gave."""
    url = urlsplit(f"https://{token}")
    fields = {name: one for name, (one,) in parse_qs(url.query).items()}
    assert (url.hostname, url.port, fields["DBUser"]) == (DATABASE, 5432, "pipeline")
    key, _, region, service, _ = fields["X-Amz-Credential"].split("/")
    who = sts.identities[key]
    assert fields["X-Amz-Security-Token"] == who.token
    signer = SigV4QueryAuth(Credentials(key, who.secret, who.token), service, region)
    request = AWSRequest("GET", f"https://{token}".partition("&X-Amz-Signature=")[0])
    request.context["timestamp"] = fields["X-Amz-Date"]
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return (service, signature) == ("rds-db", fields["X-Amz-Signature"])


@contextmanager
def _redshift(stage: Stage) -> Scenes:
    aws: Aws = stage.fixture("moto_aws")
    with redshift.redshift_cluster(aws):
        config = redshift.config_of(aws, cluster="dwh", user="pipeline", database="sales")

        def accepted(_: Broker, value: DatabaseCredentials) -> None:
            assert value.username == "IAM:pipeline"
            assert value.password is not None  # moto checks the signature before it makes one

        opening = Opening(config, {f"https://{redshift.HOST}": aws.uri}, named=redshift.HOST)
        yield Scene(opening, ("compute", "dwh"), lambda: len(aws.calls), accepted)


_RDS_PAGE = f"{AWS}/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html"
_KEYS: Any = S3Credentials
CELLS = [
    Cell("iam_role", "catalog: rest, SigV4", "aws", "SeaweedFS", (1, 1), _KEYS, partial(_rest, "rest"), SDK),
    Cell("iam_role", "catalog: s3tables", "aws", "SeaweedFS", (1, 1), _KEYS, partial(_rest, "s3tables"), SDK),
    Cell("iam_role", "catalog: glue", "aws", "moto", (1, 1), _KEYS, _glue, SDK),
    Cell("iam_role", "compute: RDS", "aws", _RDS_PAGE, (1, 1), DatabaseCredentials, _rds, SDK),
    Cell("iam_role", "compute: Redshift", "aws", "moto", (2, 2), DatabaseCredentials, _redshift, SDK),
]
