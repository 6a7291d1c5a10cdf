"""Clients as their makers ship them, beside a real sidecar: each goes on over three rotations and loses no operation.

They all run at the same time, from the variables that the sidecar prints; what each of them has used is what was seen at the
store's door, or by a service that checks tokens. Sessions and tokens live for 12 s. Who holds its first key is lost.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyiceberg.catalog import Catalog, load_catalog
from tests.servers import spark
from tests.servers.client_doors import Doors, Run
from tests.servers.oidc import provider as oidc_providers
from tests.servers.sidecar_process import Variables, sidecar
from tests.servers.store import owned
from tests.servers.token_gate import Gate, GuardedBucket, GuardedCatalog, GuardedObject

from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.seaweed import REGION, SeaweedFS

SESSION = timedelta(seconds=12)  # Arrow asks anew 5 s before the end
ROTATIONS = 3
HELD = "held"  # boto3 with keys that nobody renews
CATALOG, WAREHOUSE = "https://catalog.example/", "https://warehouse.example/"
SERVERS = Path(os.environ.get("CREDBROKER_TEST_SERVERS") or Path(__file__).resolve().parents[2] / ".servers")
AT_THE_STORE = ("boto3", "javascript", "arrow", "obstore", "polars", "polars-boto3", "deltalake", "spark")
WITH_TOKENS = ("google-cloud-storage", "app-service", "imds", "pyiceberg", "pyiceberg-credential", "duckdb")


def filled(store: SeaweedFS) -> None:
    """The files that the clients of a store read, and a table in its catalog."""
    rows = pa.table({"id": [1, 2, 3]})
    file = io.BytesIO()
    pq.write_table(rows, file)
    with owned(store) as owner:
        owner.put_object(Bucket="lake", Key="sales/orders.parquet", Body=file.getvalue())
    keys = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
    at = {"AWS_ENDPOINT": store.s3_endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
    write_deltalake("s3://lake/sales/delta", rows, storage_options={**keys, **at})


def tabled(store: SeaweedFS) -> str:
    """A table in the store's catalog, and a token of that catalog's own, for an hour."""
    rows = pa.table({"id": [1, 2, 3]})
    form = {"grant_type": "client_credentials", "client_id": store.access_key, "client_secret": store.secret_key}
    with urlopen(f"{store.catalog_uri}/v1/oauth/tokens", urlencode(form).encode()) as answer:  # noqa: S310 - http, and ours
        token = str(json.load(answer)["access_token"])
    catalog: Catalog = load_catalog("own", type="rest", uri=store.catalog_uri, warehouse=store.warehouse, token=token)
    catalog.create_namespace_if_not_exists("sidecar_clients")
    catalog.create_table("sidecar_clients.orders", rows.schema).append(rows)
    return token


def a_session(store: SeaweedFS) -> dict[str, str]:
    """One session's keys, as a job is given them that cannot ask for others."""
    sts = boto3.client(
        "sts",
        endpoint_url=store.sts_endpoint,
        region_name=REGION,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
    )
    given = sts.assume_role(RoleArn=store.role_arn, RoleSessionName="held")["Credentials"]
    variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    return dict(zip(variables, (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]), strict=True))


def platform(store: SeaweedFS, oidc: oidc_providers.OidcProvider, folder: Path) -> dict[str, Any]:
    """What the sidecar serves."""
    mount = folder / "secrets"
    mount.mkdir()
    client = oidc.client("basic")
    role = {"mode": "iam_role", "role_arn": store.role_arn, "sts_endpoint": store.sts_endpoint}
    lake = {
        "endpoint": store.s3_endpoint,
        "region": REGION,
        "locations": ["s3://lake/sales/", "s3://warehouse/"],
        "credentials": {**role, "credential_source": "environment"},
    }
    scope = f"{WAREHOUSE}.default"
    return {
        **oidc.platform(mount, production=client.credentials(resource=[CATALOG])),
        "storage": {"lake": lake},
        "compute": {
            "warehouse": {"credentials": client.credentials(resource=[WAREHOUSE], scope=None)},
            "synapse": {"credentials": client.credentials(resource=[WAREHOUSE], scope=scope)},
        },
        "sidecar": {
            "directory": str(folder / "run"),
            "listen": "127.0.0.1:0",
            "bindings": {
                "lake-read": {"storage": "lake", "locations": ["s3://lake/sales/"], "protocols": ["aws-container"]},
                "tables-read": {"storage": "lake", "locations": ["s3://warehouse/"], "protocols": ["aws-container"]},
                "production": {"catalog": "production", "protocols": ["oauth2-token"]},
                "warehouse": {"compute": "warehouse", "protocols": ["gce-metadata"]},
                "synapse": {"compute": "synapse", "protocols": ["azure-app-service"]},
                "synapse-imds": {"compute": "synapse", "protocols": ["azure-imds"]},
            },
        },
    }


def start_at_store(doors: Doors, store: SeaweedFS, variables: Mapping[str, str]) -> None:
    """Each client of the store, and one that is given its keys once."""
    file, url = ["lake", "sales/orders.parquet"], "s3://lake/sales/orders.parquet"
    python = sys.executable
    held = {"AWS_REGION": REGION, **a_session(store)}
    doors.at_store(HELD, store.s3_endpoint, [python, "boto3_client.py", *file], held)
    commands = {
        "boto3": [python, "boto3_client.py", *file],
        "javascript": ["node", "client.mjs", str(SERVERS / "node_modules"), *file],
        "arrow": [python, "arrow_client.py", *file],
        "obstore": [python, "obstore_client.py", *file],
        "polars": [python, "polars_client.py", "none", url],
        "polars-boto3": [python, "polars_client.py", "auto", url],
        "deltalake": [python, "deltalake_client.py", "s3://lake/sales/delta"],
    }
    for name, command in commands.items():
        doors.at_store(name, store.s3_endpoint, command, variables)


def start_with_tokens(
    doors: Doors, running: ExitStack, oidc: oidc_providers.OidcProvider, seaweed: SeaweedFS, variables: Variables
) -> None:
    """Each client that is given tokens, before a service of its own."""
    python = sys.executable
    gate = Gate(oidc, WAREHOUSE)
    bucket = running.enter_context(GuardedBucket(gate, "lake", "sales/orders", b"read"))
    command = [python, "gcs_client.py", bucket.uri, "lake", "sales/orders"]
    doors.by_token("google-cloud-storage", gate, command, {**variables["warehouse"], "GOOGLE_CLOUD_PROJECT": "pipelines"})
    for name, binding in (("app-service", "synapse"), ("imds", "synapse-imds")):
        gate = Gate(oidc, WAREHOUSE)
        service = running.enter_context(GuardedObject(gate))
        command = [python, "azure_client.py", f"{service.uri}/lake/orders", f"{WAREHOUSE}.default"]
        doors.by_token(name, gate, command, variables[binding])

    catalog_token = tabled(seaweed)
    own = variables["production"]
    secret = own["PYICEBERG_CATALOG__PRODUCTION__CREDENTIAL"].rpartition(":")[2]
    token_url = own["PYICEBERG_CATALOG__PRODUCTION__OAUTH2_SERVER_URI"]
    client = {"CLIENT_ID": "production", "CLIENT_SECRET": secret, "TOKEN_URL": token_url}
    for name in ("pyiceberg", "pyiceberg-credential", "duckdb"):
        gate = Gate(oidc, CATALOG)
        uri = running.enter_context(GuardedCatalog(gate, seaweed.catalog_uri, catalog_token)).uri
        place = {"TYPE": "rest", "URI": uri, "WAREHOUSE": seaweed.warehouse}
        named = {f"PYICEBERG_CATALOG__PRODUCTION__{key}": value for key, value in place.items()}
        if name == "duckdb":
            doors.by_token(name, gate, [python, "duckdb_client.py", uri, seaweed.warehouse], client)
        elif name == "pyiceberg":
            doors.by_token(name, gate, [python, "pyiceberg_client.py", "oauth2"], {**named, **client})
        else:
            doors.by_token(name, gate, [python, "pyiceberg_client.py", "credential"], {**named, **own})


@pytest.fixture(scope="module")
def runs(seaweed: SeaweedFS) -> Iterator[dict[str, Run]]:
    """Every client, once it has gone through the rotations or come to its end."""
    for found, install in ((spark.installed(), spark.INSTALL), (oidc_providers.installed(), oidc_providers.INSTALL)):
        if not found:
            # In CI it must be there; elsewhere a machine without node or Java still runs all the other tests.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"a server is not installed: {install}")
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm", prefix="credbroker-test-")))
        door = running.enter_context(PacingProxy())  # Spark's: its catalog tells it where the store is
        store = running.enter_context(SeaweedFS(session=SESSION, external_url=door.url))
        door.forward_to(store.s3_endpoint)
        oidc = running.enter_context(oidc_providers.OidcProvider())
        oidc.token_lifetime(int(SESSION.total_seconds()))
        filled(store)
        token = tabled(store)
        base = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
        variables = running.enter_context(sidecar(platform(store, oidc, folder), folder, base))
        doors = Doors(running, folder)
        start_at_store(doors, store, variables["lake-read"])
        command = [str(spark.PYTHON), "spark_client.py", str(spark.JAR), store.catalog_uri, store.warehouse]
        doors.by_door("spark", door, command, {**variables["tables-read"], "CATALOG_TOKEN": token})
        start_with_tokens(doors, running, oidc, seaweed, variables)
        doors.wait(ROTATIONS, but=HELD)
        yield doors.runs


@pytest.mark.parametrize("name", AT_THE_STORE)
def test_a_client_of_the_store_goes_on_with_new_keys(name: str, runs: Mapping[str, Run]) -> None:
    run = runs[name]
    assert len(run.used()) > ROTATIONS, run.complaint()
    assert run.refused() == [], run.complaint()
    assert all(operation["ok"] for operation in run.process.operations), run.complaint()


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_a_client_with_tokens_goes_on_with_new_ones(name: str, runs: Mapping[str, Run]) -> None:
    run = runs[name]
    assert len(run.used()) > ROTATIONS, run.complaint()
    assert all(operation["ok"] for operation in run.process.operations), run.complaint()
    # PyIceberg's older way learns of a token's end from the catalog, and asks once more; all others come before it.
    assert set(run.refused()) == ({"ExpiredTokenError"} if name == "pyiceberg-credential" else set()), run.complaint()


def test_a_client_that_holds_its_keys_is_refused(runs: Mapping[str, Run]) -> None:
    run = runs[HELD]
    assert len(run.used()) == 1
    assert run.process.operations[0] == {"ok": True}
    assert not run.process.operations[-1]["ok"]
    assert set(run.refused()) == {"403 InvalidAccessKeyId"}
