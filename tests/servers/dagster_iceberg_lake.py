"""A code location whose tables are written by dagster-iceberg, which knows the broker by a catalog's properties alone.

It runs in an environment of its own (``DAGSTER_ICEBERG``): dagster-iceberg keeps PyIceberg below 0.12.
"""

import os
import threading

import dagster as dg
import pyarrow as pa
from dagster_iceberg.config import IcebergCatalogConfig
from dagster_iceberg.io_manager.arrow import PyArrowIcebergIOManager

from credbroker.integrations.dagster import CredentialBrokerResource, WithBroker

LIFETIME = 4.5
"""Seconds after which no session of the store is taken any more."""


class LakeIOManager(WithBroker, PyArrowIcebergIOManager): ...


broker = CredentialBrokerResource(config=dg.EnvVar("LAKE_PLATFORM"), profiles=["catalogs/rest"])
tables = {
    "name": "rest",
    "namespace": "dagster_iceberg",
    "config": IcebergCatalogConfig(
        properties={
            "py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerRestCatalog",
            "credbroker.config": os.environ["LAKE_PLATFORM"],
            "credbroker.access": "read_write",
        }
    ),
}


@dg.asset(io_manager_key="plain")
def raw(broker: CredentialBrokerResource) -> pa.Table:
    broker.load_catalog("rest", access="read_write").create_namespace_if_not_exists("dagster_iceberg")
    return pa.table({"id": [1, 2, 3]})


@dg.asset(io_manager_key="lake")
def staged(raw: pa.Table) -> pa.Table:
    threading.Event().wait(LIFETIME)
    return raw


@dg.asset(io_manager_key="lake")
def mart(raw: pa.Table, staged: pa.Table) -> pa.Table:
    threading.Event().wait(LIFETIME)
    return pa.concat_tables([raw, staged])


defs = dg.Definitions(
    assets=[raw, staged, mart],
    jobs=[dg.define_asset_job("lake", executor_def=dg.in_process_executor)],
    resources={
        "broker": broker,
        "plain": PyArrowIcebergIOManager(**tables),
        "lake": LakeIOManager(broker=broker, **tables),
    },
)
