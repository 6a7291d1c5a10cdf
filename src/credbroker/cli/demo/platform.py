"""The demonstration's platform.yaml, as a mapping, and the broker of it."""

from __future__ import annotations

from dataclasses import dataclass

from credbroker import Broker
from credbroker.cli.demo.environment import GivenEnvironment
from credbroker.cli.demo.seaweed import REGION, SeaweedFS
from credbroker.context import Context
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.resolver import Resolver
from credbroker.system.http import SystemHttp

NAMESPACE = "shop"


@dataclass(frozen=True, slots=True)
class Way:
    """A way for data files to get their credentials. ``catalog`` is the profile's name."""

    catalog: str
    table: str
    title: str

    @property
    def identifier(self) -> str:
        """The table's name with its namespace."""
        return f"{NAMESPACE}.{self.table}"


# The second name begins with the first: a grant that compared letters instead of segments would reach over.
VENDED = Way("vended", "orders", "vended by the catalog")
ASSUMED = Way("assumed", "orders2", "AssumeRole with a session policy")
WAYS = (VENDED, ASSUMED)


def platform(store: SeaweedFS, data_url: str) -> dict[str, object]:
    """What a platform team would write for this store. ``data_url`` is the S3 endpoint that data files are read through."""
    catalog = {
        "type": "rest",
        "uri": store.catalog_uri,
        "warehouse": store.warehouse,
        "credentials": {
            "mode": "oauth2",
            "client_id": {"secret_ref": "demo-client-id"},
            "client_secret": {"secret_ref": "demo-client-secret"},
        },
    }
    lake = {
        "endpoint": data_url,
        "region": REGION,
        "path_style_access": True,
        "locations": [f"{store.warehouse}/{NAMESPACE}/{ASSUMED.table}/"],
        "access": "read_write",
        "credentials": {
            "mode": "iam_role",
            "role_arn": store.role_arn,
            "sts_endpoint": store.sts_endpoint,
            "credential_source": "environment",
        },
    }
    return {
        "version": 1,
        "environment": "demo",
        "principal": "credbroker-demo",
        "catalogs": {VENDED.catalog: catalog, ASSUMED.catalog: {**catalog, "access_delegation": "none", "storage": "lake"}},
        "storage": {"lake": lake},
    }


def broker_of(store: SeaweedFS, data_url: str) -> Broker:
    """A broker that finds its secrets in an environment of its own."""
    environment = GivenEnvironment(
        {
            "DEMO_CLIENT_ID": store.access_key,
            "DEMO_CLIENT_SECRET": store.secret_key,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }
    )
    secrets = Resolver((EnvBackend(),), Context(environment=environment))
    context = Context(http=SystemHttp(), environment=environment, secrets=secrets)
    return Broker.from_config(platform(store, data_url), context=context)
