"""A job that Dagster knows by this module and a function's name: each process imports it anew, and nothing is pickled."""

import os
from typing import Any

import dagster as dg

from credbroker.integrations.dagster import CredentialBrokerResource


@dg.asset
def orders(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    broker.storage("lake").get()
    return dg.MaterializeResult(metadata={"process": os.getpid(), **broker.metadata()})


def nightly() -> dg.JobDefinition:
    """``$LAKE_PLATFORM`` names the platform file."""
    broker = CredentialBrokerResource(config=dg.EnvVar("LAKE_PLATFORM"), profiles=["storage/lake"])
    definitions = dg.Definitions(assets=[orders], jobs=[dg.define_asset_job("nightly")], resources={"broker": broker})
    return definitions.resolve_job_def("nightly")
