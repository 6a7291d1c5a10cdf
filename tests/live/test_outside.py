"""The attempts of the demo must tell a fence from none: keys that reach everywhere are found out, and so are dead ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from pydantic import SecretStr

from credbroker.cli.demo.outside import ELSEWHERE_KEY, Target, attempts, client
from credbroker.cli.demo.seaweed import BUCKET, REGION, SeaweedFS
from credbroker.credentials import S3Credentials
from credbroker.location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OWN = Target(Location.parse(f"s3://{BUCKET}/fence/orders"), "fence/orders/data/1")
SIBLING = Target(Location.parse(f"s3://{BUCKET}/fence/orders2"), "fence/orders2/data/1")


@pytest.fixture
def owner(seaweed: SeaweedFS) -> Iterator[S3Client]:
    s3 = client(seaweed.s3_endpoint, seaweed.access_key, seaweed.secret_key)
    for key in (OWN.data_key, SIBLING.data_key, ELSEWHERE_KEY):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    yield s3
    s3.close()


@pytest.mark.usefixtures("owner")
def test_keys_that_reach_everywhere_are_found_out(seaweed: SeaweedFS) -> None:
    keys = S3Credentials(seaweed.access_key, SecretStr(seaweed.secret_key))
    made = list(attempts(lambda: keys, seaweed.s3_endpoint, OWN, SIBLING, read_only=True))
    assert len(made) == 9
    assert {(attempt.refused, attempt.answer) for attempt in made} == {(False, "allowed")}


@pytest.mark.usefixtures("owner")
def test_keys_that_open_nothing_prove_nothing(seaweed: SeaweedFS) -> None:
    """The store refuses them everywhere, which is no fence."""
    keys = S3Credentials("nobody", SecretStr("nothing"))
    made = list(attempts(lambda: keys, seaweed.s3_endpoint, OWN, SIBLING, read_only=True))
    assert [(attempt.what, attempt.refused, attempt.answer) for attempt in made] == [
        ("read its own file", False, "InvalidAccessKeyId")
    ]


@pytest.mark.usefixtures("owner")
def test_keys_that_are_for_elsewhere_prove_nothing_either(seaweed: SeaweedFS) -> None:
    """Its own file is refused to them as all the others are: with ``AccessDenied``, which counts for nothing here."""
    keys = assumed(seaweed, f"arn:aws:s3:::{BUCKET}/elsewhere/*")
    (attempt,) = attempts(lambda: keys, seaweed.s3_endpoint, OWN, SIBLING, read_only=True)
    assert (attempt.what, attempt.refused, attempt.answer) == ("read its own file", False, "AccessDenied")


def assumed(store: SeaweedFS, resource: str) -> S3Credentials:
    sts = boto3.client(
        "sts",
        endpoint_url=store.sts_endpoint,
        region_name=REGION,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
    )
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource}]}
    given = sts.assume_role(RoleArn=store.role_arn, RoleSessionName="fence", Policy=json.dumps(policy))["Credentials"]
    sts.close()
    return S3Credentials(given["AccessKeyId"], SecretStr(given["SecretAccessKey"]), SecretStr(given["SessionToken"]))
