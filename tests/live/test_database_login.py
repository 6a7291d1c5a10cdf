"""Redshift's logins by moto: the role is assumed first, and what it is narrowed to is what the call needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.servers.aws import REGION, Aws
from tests.servers.rerouted import Rerouted

from credbroker import Broker, DatabaseCredentials
from credbroker.context import Context, Http, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError
from credbroker.system.clock import SystemClock
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp

ROLE = "arn:aws:iam::123456789012:role/Warehouse"
HOST = f"redshift.{REGION}.amazonaws.com"


class Named:
    """Says in a header for whom a request to Redshift is: moto checks the signature, which is over that host's name."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def send(self, request: HttpRequest, **options: Any) -> HttpResponse:
        if b"AssumeRole" not in (request.body or b""):
            request = replace(request, headers={**request.headers, "Host": HOST})
        return self._http.send(request, **options)


@pytest.fixture
def cluster(moto_aws: Aws) -> Iterator[Aws]:
    """A cluster ``dwh``, and a role that may ask for a login to it."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "redshift:*", "Resource": "*"}]}
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    with moto_aws.client("iam") as iam, moto_aws.client("redshift") as redshift:
        iam.create_role(
            RoleName="Warehouse", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        iam.put_role_policy(RoleName="Warehouse", PolicyName="logins", PolicyDocument=json.dumps(document))
        redshift.create_cluster(
            ClusterIdentifier="dwh", NodeType="ra3.large", MasterUsername="admin", MasterUserPassword="Not-Used-1"
        )
        yield moto_aws
        redshift.delete_cluster(ClusterIdentifier="dwh", SkipFinalClusterSnapshot=True)
        iam.delete_role_policy(RoleName="Warehouse", PolicyName="logins")
        iam.delete_role(RoleName="Warehouse")


def broker_of(aws: Aws, **properties: str) -> Broker:
    role = {"mode": "iam_role", "role_arn": ROLE, "sts_endpoint": aws.uri, "credential_source": "environment"}
    engine = {"type": "redshift", "region": REGION, "properties": properties, "credentials": role}
    moto = {f"https://{HOST}": f"http://127.0.0.1:{aws.port}"}
    context = Context(clock=SystemClock(), http=Rerouted(Named(SystemHttp()), moto), environment=SystemEnvironment())
    return Broker.from_config({"environment": "test", "compute": {"dwh": engine}}, context=context)


def test_a_cluster_gives_a_login_to_the_session(cluster: Aws) -> None:
    with broker_of(cluster, cluster="dwh", user="pipeline", database="sales") as broker:
        value = broker.compute("dwh").get()
        assert isinstance(value, DatabaseCredentials)
        assert value.username == "IAM:pipeline"
        assert value.password is not None
        assert value.expires_at is not None


def test_a_cluster_that_is_not_there_is_named(cluster: Aws) -> None:
    with (
        broker_of(cluster, cluster="absent", user="pipeline") as broker,
        pytest.raises(ConfigurationError, match="knows no cluster 'absent'"),
    ):
        broker.compute("dwh").get()
