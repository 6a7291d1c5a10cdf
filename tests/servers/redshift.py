"""Redshift as moto plays it: a cluster, a role that may ask for a login to it, and a broker that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from credbroker import Broker
from credbroker.context import Context
from credbroker.system.clock import SystemClock
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from tests.servers.aws import REGION, Aws
from tests.servers.named import Named
from tests.servers.rerouted import Rerouted

ROLE = "arn:aws:iam::123456789012:role/Warehouse"
HOST = f"redshift.{REGION}.amazonaws.com"


@contextmanager
def redshift_cluster(aws: Aws) -> Iterator[None]:
    """A cluster ``dwh``, and a role that may ask for a login to it."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "redshift:*", "Resource": "*"}]}
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    with aws.client("iam") as iam, aws.client("redshift") as redshift:
        iam.create_role(
            RoleName="Warehouse", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        iam.put_role_policy(RoleName="Warehouse", PolicyName="logins", PolicyDocument=json.dumps(document))
        redshift.create_cluster(
            ClusterIdentifier="dwh", NodeType="ra3.large", MasterUsername="admin", MasterUserPassword="Not-Used-1"
        )
        yield
        redshift.delete_cluster(ClusterIdentifier="dwh", SkipFinalClusterSnapshot=True)
        iam.delete_role_policy(RoleName="Warehouse", PolicyName="logins")
        iam.delete_role(RoleName="Warehouse")


def config_of(aws: Aws, **properties: str) -> dict[str, Any]:
    """A platform whose engine ``dwh`` is that cluster."""
    role = {"mode": "iam_role", "role_arn": ROLE, "sts_endpoint": aws.uri, "credential_source": "environment"}
    engine = {"type": "redshift", "region": REGION, "properties": properties, "credentials": role}
    return {"environment": "test", "compute": {"dwh": engine}}


def broker_of(aws: Aws, **properties: str) -> Broker:
    http = Rerouted(Named(SystemHttp(), HOST), {f"https://{HOST}": aws.uri})
    context = Context(clock=SystemClock(), http=http, environment=SystemEnvironment())
    return Broker.from_config(config_of(aws, **properties), context=context)
