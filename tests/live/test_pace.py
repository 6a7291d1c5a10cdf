from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from credbroker.cli.demo.outside import client
from credbroker.cli.demo.pace import PacingProxy
from credbroker.cli.demo.seaweed import BUCKET, REGION, SeaweedFS
from credbroker.cli.demo.tally import Passage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024


@pytest.fixture
def proxy(seaweed: SeaweedFS) -> Iterator[PacingProxy]:
    with PacingProxy() as made:
        made.forward_to(seaweed.s3_endpoint)
        yield made


@pytest.fixture
def s3(seaweed: SeaweedFS, proxy: PacingProxy) -> Iterator[S3Client]:
    made = client(proxy.url, seaweed.access_key, seaweed.secret_key)
    yield made
    made.close()


def session_keys(store: SeaweedFS) -> dict[str, Any]:
    sts = boto3.client(
        "sts",
        endpoint_url=store.sts_endpoint,
        region_name=REGION,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(retries={"total_max_attempts": 1}),
    )
    read = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/pace/*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [read]})
    answer = sts.assume_role(RoleArn=store.role_arn, RoleSessionName="pace", DurationSeconds=900, Policy=policy)
    sts.close()
    return dict(answer["Credentials"])


def test_signed_requests_of_every_kind_pass_unchanged(s3: S3Client, proxy: PacingProxy) -> None:
    """The signature covers the Host header, so a proxy that changed it would be refused."""
    key = "pace/a b+ü/data/x.txt"
    with proxy.watch() as tally:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"hello"
        assert s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=1-2")["Body"].read() == b"el"
        assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 5
        assert s3.list_objects_v2(Bucket=BUCKET, Prefix="pace/a b")["KeyCount"] == 1
        s3.delete_object(Bucket=BUCKET, Key=key)
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket=BUCKET, Key=key)
        with pytest.raises(ClientError, match="404"):
            s3.head_object(Bucket=BUCKET, Key=key)
    assert [passage.method for passage in tally.passages] == ["PUT", "GET", "GET", "HEAD", "GET", "DELETE", "GET", "HEAD"]
    assert tally.passages[0].path == f"/{BUCKET}/{key}"
    assert tally.refused_expired == tally.denied == 0


def test_a_multipart_upload_passes_and_comes_back_whole(s3: S3Client) -> None:
    content = bytes(range(256)) * (12 * MIB // 256)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_fileobj(io.BytesIO(content), BUCKET, "pace/large", Config=parts)
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "pace/large", back, Config=parts)
    assert back.getvalue() == content


def test_refusals_are_told_apart_by_what_the_store_answers(seaweed: SeaweedFS, s3: S3Client, proxy: PacingProxy) -> None:
    s3.put_object(Bucket=BUCKET, Key="pace/data/inside", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="pace2/data/outside", Body=b"1")
    keys = session_keys(seaweed)
    held = client(proxy.url, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    # To the store a session that is over, and one whose token was never its own, are the same.
    over = client(proxy.url, keys["AccessKeyId"], keys["SecretAccessKey"], "x" + keys["SessionToken"][1:])
    told: list[Passage] = []
    with proxy.watch(told.append) as tally:
        held.get_object(Bucket=BUCKET, Key="pace/data/inside")
        with pytest.raises(ClientError, match="AccessDenied"):
            held.get_object(Bucket=BUCKET, Key="pace2/data/outside")
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            over.get_object(Bucket=BUCKET, Key="pace/data/inside")
        with pytest.raises(ClientError, match="403"):
            over.head_object(Bucket=BUCKET, Key="pace/data/inside")
    held.close()
    over.close()
    assert (tally.requests, tally.denied, tally.refused_expired) == (4, 1, 2)
    assert [passage.path for passage in tally.opens] == [f"/{BUCKET}/pace/data/inside"]
    assert tuple(told) == tally.passages
    assert {passage.key_id for passage in told} == {keys["AccessKeyId"]}


def test_a_watch_does_not_count_the_keys_of_an_earlier_one(seaweed: SeaweedFS, s3: S3Client, proxy: PacingProxy) -> None:
    s3.put_object(Bucket=BUCKET, Key="pace/data/inside", Body=b"1")
    keys = session_keys(seaweed)
    later = client(proxy.url, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    with proxy.watch() as tally:
        s3.get_object(Bucket=BUCKET, Key="pace/data/inside")
        later.get_object(Bucket=BUCKET, Key="pace/data/inside")
    later.close()
    assert [passage.key_id for passage in tally.passages] == [keys["AccessKeyId"]]


def test_only_reads_of_data_files_are_held_back(s3: S3Client, proxy: PacingProxy) -> None:
    proxy.delay = 0.3
    with proxy.watch() as tally:
        s3.put_object(Bucket=BUCKET, Key="pace/data/slow", Body=b"1")
        s3.put_object(Bucket=BUCKET, Key="pace/metadata/fast", Body=b"1")
        s3.get_object(Bucket=BUCKET, Key="pace/data/slow")
        s3.get_object(Bucket=BUCKET, Key="pace/metadata/fast")
    _, before_slow, slow, fast = (passage.at for passage in tally.passages)
    assert fast - slow >= 0.3 > slow - before_slow
    assert [passage.is_data for passage in tally.passages] == [False, False, True, False]


def test_before_there_is_a_store_the_answer_is_503() -> None:
    with PacingProxy() as proxy:
        s3 = client(proxy.url, "nobody", "nothing")
        with pytest.raises(ClientError, match="503"):
            s3.list_buckets()
        s3.close()
