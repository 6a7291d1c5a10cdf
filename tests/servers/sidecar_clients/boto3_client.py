"""boto3: a listing and an object, by one client. Arguments: bucket, key."""

from __future__ import annotations

import sys

import boto3
from repeat import repeat

bucket, key = sys.argv[1:]
s3 = boto3.client("s3")


def read() -> None:
    folder = key.rpartition("/")[0] + "/"
    assert key in {found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]}
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read()


repeat(read)
