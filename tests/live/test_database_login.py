"""Redshift's logins by moto: the role is assumed first, and what it is narrowed to is what the call needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.servers.redshift import broker_of, redshift_cluster

from credbroker import DatabaseCredentials
from credbroker.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.servers.aws import Aws


@pytest.fixture
def cluster(moto_aws: Aws) -> Iterator[Aws]:
    with redshift_cluster(moto_aws):
        yield moto_aws


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
