"""``integrations.local.serve``: native clients of this process outlive their keys, with a file and an upload open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import boto3
import pyarrow.fs
import pytest
from tests.live.conftest import SHORT_SESSION

from credbroker import Broker, S3Credentials
from credbroker.cli.demo.seaweed import REGION, SeaweedFS
from credbroker.context import Context
from credbroker.integrations import local
from credbroker.source import CredentialSource
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp

PART = 6 * 1024 * 1024  # a part of an upload has at least 5 MiB
ROTATIONS = 2


class Owner(SystemEnvironment):
    """The base identity, which the clients of this process do not see."""

    def __init__(self, store: SeaweedFS) -> None:
        self._held = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}

    def variable(self, name: str) -> str | None:
        return self._held.get(name)


@pytest.fixture
def lake(seaweed_short: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[CredentialSource[S3Credentials]]:
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower() == "no_proxy":
            monkeypatch.delenv(name)
    profile = {
        "endpoint": seaweed_short.s3_endpoint,
        "region": REGION,
        "locations": ["s3://lake/local/"],
        "access": "read_write",
        "credentials": {
            "mode": "iam_role",
            "role_arn": seaweed_short.role_arn,
            "sts_endpoint": seaweed_short.sts_endpoint,
            "credential_source": "environment",
        },
    }
    context = Context(http=SystemHttp(), environment=Owner(seaweed_short))
    with Broker.from_config({"version": 1, "environment": "test", "storage": {"lake": profile}}, context=context) as broker:
        yield broker.storage("lake", access="read_write")  # type: ignore[misc]


def wait_until_dead(keys: S3Credentials) -> None:
    """Until no store takes these keys any more, told by the wall as the store tells it."""
    assert keys.expires_at is not None
    threading.Event().wait(SHORT_SESSION.total_seconds() + 0.5)


def test_an_open_file_and_an_upload_outlive_their_keys(
    lake: CredentialSource[S3Credentials], seaweed_short: SeaweedFS
) -> None:
    data = os.urandom(1024) * (PART // 1024)
    endpoint = seaweed_short.s3_endpoint.removeprefix("http://")
    with local.serve(lake, export=True):
        files = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region=REGION)
        session = boto3.session.Session().client("s3", endpoint_url=seaweed_short.s3_endpoint)
        first = lake.get()
        assert first.session_token is not None
        fixed = pyarrow.fs.S3FileSystem(
            access_key=first.access_key_id,
            secret_key=first.secret_access_key.get_secret_value(),
            session_token=first.session_token.get_secret_value(),
            endpoint_override=endpoint,
            scheme="http",
            region=REGION,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )
        with files.open_output_stream("lake/local/uploaded", buffer_size=PART) as upload:
            for _ in range(ROTATIONS):
                upload.write(data)
                wait_until_dead(lake.get())
        seen = set()
        with files.open_input_file("lake/local/uploaded") as opened:
            assert opened.size() == ROTATIONS * PART
            for number in range(ROTATIONS):
                assert opened.read_at(1024, number * PART) == data[:1024]
                assert session.head_object(Bucket="lake", Key="local/uploaded")["ContentLength"] == ROTATIONS * PART
                seen.add(lake.get().access_key_id)
                wait_until_dead(lake.get())
        assert len(seen) == ROTATIONS
        assert first.access_key_id not in seen
        # The same file system with the keys that it was made with: the store refuses them, so the others were alive.
        with pytest.raises(OSError, match=r"(?i)expired|denied|invalid|403"):
            fixed.open_input_file("lake/local/uploaded")
