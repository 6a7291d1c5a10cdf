"""``iam_role`` against SeaweedFS's STS and S3: what is granted works, and everything beside it is refused by the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import boto3
import pyarrow.fs
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError, IssueDenied
from credbroker.location import Location
from credbroker.request import Access

KEYS = ("sales/orders", "sales/2026/may", "sales2/orders", "sales", "finance/ledger", "other", "w*d/x", "wxd/x")
PART = b"x" * (5 * 1024 * 1024)  # the smallest part that S3 takes before the last


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    with SeaweedFS() as running:
        with opened(running, running.access_key, running.secret_key) as owner:
            owner.create_bucket(Bucket="pond")
            for key in KEYS:
                owner.put_object(Bucket="lake", Key=key, Body=key.encode())
            owner.put_object(Bucket="pond", Key="sales/orders", Body=b"")
        yield running


@pytest.fixture
def broker(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    with Broker.from_config(platform(server)) as running:
        yield running


def platform(server: SeaweedFS, **changes: Any) -> dict[str, Any]:
    credentials = {
        "mode": "iam_role",
        "role_arn": server.role_arn,
        "sts_endpoint": server.sts_endpoint,
        "credential_source": "environment",
        **changes,
    }
    lake = {
        "endpoint": server.s3_endpoint,
        "region": "us-east-1",
        "locations": ["s3://lake/"],
        "access": "read_write",
        "credentials": credentials,
    }
    return {"version": 1, "environment": "test", "storage": {"lake": lake, "escaping": {**lake, "policy_escapes": True}}}


@contextmanager
def opened(server: SeaweedFS, access_key_id: str, secret: str, token: str | None = None) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=server.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    with closing(client):
        yield client


@contextmanager
def granted(broker: Broker, server: SeaweedFS, *locations: str, access: str, profile: str = "lake") -> Iterator[Any]:
    value = broker.storage(profile, *locations, access=access).get()
    assert isinstance(value, S3Credentials)
    assert value.session_token is not None
    with opened(
        server, value.access_key_id, value.secret_access_key.get_secret_value(), value.session_token.get_secret_value()
    ) as client:
        yield client


def refused(call: Callable[..., object], **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, arguments


def upload(client: Any, bucket: str, key: str) -> None:
    begun = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, body in ((1, PART), (2, b"end")):
        tag = client.upload_part(Bucket=bucket, Key=key, UploadId=begun, PartNumber=number, Body=body)["ETag"]
        parts.append({"ETag": tag, "PartNumber": number})
    assert len(client.list_parts(Bucket=bucket, Key=key, UploadId=begun)["Parts"]) == 2
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=begun, MultipartUpload={"Parts": parts})


def test_the_value_states_what_was_granted(broker: Broker, server: SeaweedFS) -> None:
    value = broker.storage("lake", "s3://lake/sales", access="read").get()
    assert isinstance(value, S3Credentials)
    assert (value.locations, value.access) == ((Location.parse("s3://lake/sales"),), Access.READ)
    assert (value.endpoint, value.region) == (server.s3_endpoint, "us-east-1")


def test_a_read_grant_gets_and_lists_inside_and_changes_nothing(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/sales", access="read") as client:
        assert client.get_object(Bucket="lake", Key="sales/orders")["Body"].read() == b"sales/orders"
        assert client.head_object(Bucket="lake", Key="sales/2026/may")["ContentLength"] > 0
        whole = client.list_objects_v2(Bucket="lake", Prefix="sales/")
        assert {"sales/orders", "sales/2026/may"} <= {found["Key"] for found in whole["Contents"]}
        level = client.list_objects_v2(Bucket="lake", Prefix="sales/", Delimiter="/")
        assert "sales/2026/" in {found["Prefix"] for found in level["CommonPrefixes"]}
        client.get_bucket_location(Bucket="lake")
        refused(client.put_object, Bucket="lake", Key="sales/new", Body=b"")
        refused(client.delete_object, Bucket="lake", Key="sales/orders")
        refused(client.create_multipart_upload, Bucket="lake", Key="sales/new")


def test_a_write_grant_puts_and_deletes_and_lists_and_reads_nothing(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/sales", access="write") as client:
        client.put_object(Bucket="lake", Key="sales/written", Body=b"1")
        upload(client, "lake", "sales/parts")
        begun = client.create_multipart_upload(Bucket="lake", Key="sales/aborted")["UploadId"]
        client.abort_multipart_upload(Bucket="lake", Key="sales/aborted", UploadId=begun)
        listed = {found["Key"] for found in client.list_objects_v2(Bucket="lake", Prefix="sales/")["Contents"]}
        assert {"sales/written", "sales/parts"} <= listed
        refused(client.get_object, Bucket="lake", Key="sales/written")
        for key in ("sales/written", "sales/parts"):
            client.delete_object(Bucket="lake", Key=key)


@pytest.mark.parametrize("key", ["sales2/orders", "sales", "other", "finance/ledger", "wxd/x"])
def test_nothing_beside_the_prefix_can_be_touched(broker: Broker, server: SeaweedFS, key: str) -> None:
    with granted(broker, server, "s3://lake/sales", access="read_write") as client:
        refused(client.get_object, Bucket="lake", Key=key)
        refused(client.head_object, Bucket="lake", Key=key)
        refused(client.put_object, Bucket="lake", Key=key, Body=b"")
        refused(client.delete_object, Bucket="lake", Key=key)
        refused(client.create_multipart_upload, Bucket="lake", Key=key)
        refused(client.copy_object, Bucket="lake", Key="sales/copy", CopySource={"Bucket": "lake", "Key": key})
        several = client.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": key}]})
        assert [failure["Code"] for failure in several["Errors"]] == ["AccessDenied"]
    with opened(server, server.access_key, server.secret_key) as owner:
        assert owner.get_object(Bucket="lake", Key=key)["Body"].read() == key.encode()


@pytest.mark.parametrize("prefix", ["", "s", "sales", "sales2/", "finance/", "*", "sales*"])
def test_no_listing_shows_the_siblings(broker: Broker, server: SeaweedFS, prefix: str) -> None:
    with granted(broker, server, "s3://lake/sales", access="read_write") as client:
        for call in (client.list_objects_v2, client.list_objects, client.list_object_versions):
            refused(call, Bucket="lake", Prefix=prefix)
            refused(call, Bucket="lake", Prefix=prefix, Delimiter="/")
        refused(client.list_multipart_uploads, Bucket="lake", Prefix="sales/")


def test_another_bucket_stays_closed_under_the_same_prefix(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/sales", access="read_write") as client:
        refused(client.get_object, Bucket="pond", Key="sales/orders")
        refused(client.put_object, Bucket="pond", Key="sales/new", Body=b"")
        refused(client.list_objects_v2, Bucket="pond", Prefix="sales/")


def test_several_locations_are_granted_at_once_and_nothing_between_them(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/finance", "s3://lake/sales/2026", access="read") as client:
        for key in ("finance/ledger", "sales/2026/may"):
            client.get_object(Bucket="lake", Key=key)
            client.list_objects_v2(Bucket="lake", Prefix=key.rpartition("/")[0] + "/")
        refused(client.get_object, Bucket="lake", Key="sales/orders")
        refused(client.list_objects_v2, Bucket="lake", Prefix="sales/")


def test_the_bucket_root_is_whole_where_it_is_asked_by_name(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/", access="read") as client:
        assert {found["Key"] for found in client.list_objects_v2(Bucket="lake")["Contents"]} >= {"other", "sales2/orders"}
        client.get_object(Bucket="lake", Key="other")
        refused(client.get_object, Bucket="pond", Key="sales/orders")


def test_a_wildcard_in_a_name_reaches_nothing_that_it_would_match(broker: Broker, server: SeaweedFS) -> None:
    with granted(broker, server, "s3://lake/w*d", access="read", profile="escaping") as client:
        refused(client.get_object, Bucket="lake", Key="wxd/x")
        refused(client.list_objects_v2, Bucket="lake", Prefix="wxd/")
    with pytest.raises(ConfigurationError, match="policy_escapes"):
        broker.storage("lake", "s3://lake/w*d", access="read")


def test_pyarrow_lists_reads_and_writes_below_the_prefix(broker: Broker, server: SeaweedFS) -> None:
    value = broker.storage("lake", "s3://lake/sales", access="read_write").get()
    assert isinstance(value, S3Credentials)
    assert value.session_token is not None
    files = pyarrow.fs.S3FileSystem(
        access_key=value.access_key_id,
        secret_key=value.secret_access_key.get_secret_value(),
        session_token=value.session_token.get_secret_value(),
        endpoint_override=server.s3_endpoint,
        region="us-east-1",
    )
    with files.open_output_stream("lake/sales/arrow/deep/file") as stream:
        stream.write(PART + b"end")
    selected = files.get_file_info(pyarrow.fs.FileSelector("lake/sales", recursive=True))
    assert "lake/sales/arrow/deep/file" in {found.path for found in selected}
    assert files.get_file_info("lake/sales/arrow").type == pyarrow.fs.FileType.Directory
    assert files.get_file_info("lake/sales/absent").type == pyarrow.fs.FileType.NotFound
    assert files.open_input_file("lake/sales/arrow/deep/file").size() == len(PART) + 3
    files.delete_file("lake/sales/arrow/deep/file")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.get_file_info(pyarrow.fs.FileSelector("lake/sales2"))


def test_a_role_that_does_not_trust_us_is_a_refused_grant(broker: Broker, server: SeaweedFS) -> None:
    closed = platform(server, role_arn="arn:aws:iam::123456789012:role/Closed")
    with Broker.from_config(closed) as other, pytest.raises(IssueDenied, match="trust policy") as caught:
        other.storage("lake", "s3://lake/sales", access="read").get()
    assert caught.value.grant_denied


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_base_keys_are_our_own_fault_and_are_not_shown(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "canary")
    with pytest.raises(IssueDenied, match="AWS_ACCESS_KEY_ID") as caught:
        broker.storage("lake", "s3://lake/sales/elsewhere", access="read").get()
    assert not caught.value.grant_denied
    assert "canary" not in str(caught.value)
