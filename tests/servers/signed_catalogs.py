"""Catalogs whose requests are signed with a role's keys, as platform.yaml says them: SeaweedFS' and Glue by moto."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import boto3
from botocore.config import Config

from credbroker.cli.demo.seaweed import SeaweedFS
from tests.servers.aws import REGION, Aws
from tests.servers.signed_proxy import SignedProxy

GLUE_ROLE = "arn:aws:iam::123456789012:role/Catalogs"


def open_tables(store: SeaweedFS) -> None:
    """Let sessions into the table bucket. SeaweedFS asks its resource policy alone for that, and no role's."""
    arn = table_bucket(store)
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3tables:*", "Resource": [arn, f"{arn}/*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    with closing(_tables(store)) as tables:
        tables.put_table_bucket_policy(tableBucketARN=arn, resourcePolicy=policy)


def table_bucket(store: SeaweedFS) -> str:
    """The ARN of its one table bucket."""
    with closing(_tables(store)) as tables:
        (bucket,) = tables.list_table_buckets()["tableBuckets"]
        return str(bucket["arn"])


def _tables(store: SeaweedFS) -> Any:
    return boto3.client(
        "s3tables",
        endpoint_url=store.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


def role_of(store: SeaweedFS) -> dict[str, Any]:
    return {
        "mode": "iam_role",
        "role_arn": store.role_arn,
        "sts_endpoint": store.sts_endpoint,
        "credential_source": "environment",
    }


def rest_platform(store: SeaweedFS, uri: str, **catalog: Any) -> dict[str, Any]:
    signed = {
        "uri": uri,
        "warehouse": store.warehouse,
        "storage": "warehouse",
        "credentials": role_of(store),
        "properties": {"rest.sigv4-enabled": True, "rest.signing-region": "us-east-1", "rest.signing-name": "s3tables"},
        **catalog,
    }
    files = {
        "endpoint": store.s3_endpoint,
        "region": "us-east-1",
        "locations": [f"{store.warehouse}/signed/"],
        "access": "read_write",
        "credentials": role_of(store),
    }
    return {
        "version": 1,
        "environment": "test",
        "catalogs": {"stored": {**signed, "access_delegation": "none"}, "vended": {**signed, "storage": "warehouse"}},
        "storage": {"warehouse": files},
    }


def make_glue_role(aws: Aws) -> None:
    """The role that may use Glue, where it is not there yet."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "glue:*", "Resource": "*"}
    with aws.client("iam") as iam:
        names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
        if "Catalogs" not in names:
            iam.create_role(
                RoleName="Catalogs",
                AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            )
            iam.put_role_policy(
                RoleName="Catalogs",
                PolicyName="glue",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}),
            )


def glue_platform(aws: Aws, glue: SignedProxy, seaweed: SeaweedFS, **catalog: Any) -> dict[str, Any]:
    role = {"mode": "iam_role", "role_arn": GLUE_ROLE, "sts_endpoint": aws.uri, "credential_source": "environment"}
    return {
        "version": 1,
        "environment": "test",
        "catalogs": {
            "glue": {
                "type": "glue",
                "region": REGION,
                "uri": glue.uri,
                "warehouse": "s3://lake/glue",
                "storage": "lake",
                "credentials": role,
                **catalog,
            }
        },
        "storage": {
            "lake": {
                "endpoint": seaweed.s3_endpoint,
                "region": "us-east-1",
                "locations": ["s3://lake/glue/"],
                "access": "read_write",
                "allow_unscoped": True,
                "credentials": {"mode": "static", "secret_ref": "lake-keys"},
            }
        },
    }
