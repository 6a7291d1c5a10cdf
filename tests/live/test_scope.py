"""Two stores that nobody here wrote read our session policies: what is granted works, what is beside it both refuse."""

from __future__ import annotations

from typing import Any

import pytest
from tests.servers.store import Answers, Store, closed, granted, listed, opened, owned, refused

from credbroker import Broker
from credbroker.errors import AccessDenied

BESIDE = ("sales2/orders", "sales", "other", "finance/ledger")
KEYS = ("sales/orders", "sales/2026/may", "sales/2027/may", *BESIDE)
PART = b"x" * (5 * 1024 * 1024)  # the smallest part that S3 takes before the last


@pytest.fixture(scope="module", autouse=True)
def _filled(store: Store) -> None:
    with owned(store) as owner:
        for key in KEYS:
            owner.put_object(Bucket="lake", Key=key, Body=key.encode())
        owner.put_object(Bucket="pond", Key="sales/orders", Body=b"")


# --- what is granted --------------------------------------------------------------------------------------------------


def test_a_read_grant_gets_and_lists_inside_and_changes_nothing(broker: Broker) -> None:
    with granted(broker, "s3://lake/sales", access="read") as client:
        assert client.get_object(Bucket="lake", Key="sales/orders")["Body"].read() == b"sales/orders"
        assert client.head_object(Bucket="lake", Key="sales/2026/may")["ContentLength"] > 0
        assert {"sales/orders", "sales/2026/may"} <= listed(client, "lake", "sales/")
        level = client.list_objects_v2(Bucket="lake", Prefix="sales/", Delimiter="/")
        assert {"sales/2026/", "sales/2027/"} <= {found["Prefix"] for found in level["CommonPrefixes"]}
        client.get_bucket_location(Bucket="lake")
        refused(client.put_object, Bucket="lake", Key="sales/new", Body=b"")
        refused(client.delete_object, Bucket="lake", Key="sales/orders")
        refused(client.create_multipart_upload, Bucket="lake", Key="sales/new")
        source = {"Bucket": "lake", "Key": "sales/orders"}
        refused(client.copy_object, Bucket="lake", Key="sales/new", CopySource=source)


def test_a_write_grant_puts_and_deletes_and_lists_and_reads_nothing(broker: Broker) -> None:
    with granted(broker, "s3://lake/sales", access="write") as client:
        client.put_object(Bucket="lake", Key="sales/written", Body=b"1")
        upload = {"Bucket": "lake", "Key": "sales/parts"}
        begun = client.create_multipart_upload(**upload)["UploadId"]
        tags = [
            client.upload_part(**upload, UploadId=begun, PartNumber=number, Body=body)["ETag"]
            for number, body in ((1, PART), (2, b"end"))
        ]
        assert len(client.list_parts(**upload, UploadId=begun)["Parts"]) == 2
        parts = [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, start=1)]
        client.complete_multipart_upload(**upload, UploadId=begun, MultipartUpload={"Parts": parts})
        aborted = client.create_multipart_upload(Bucket="lake", Key="sales/aborted")["UploadId"]
        client.abort_multipart_upload(Bucket="lake", Key="sales/aborted", UploadId=aborted)
        assert {"sales/written", "sales/parts"} <= listed(client, "lake", "sales/")
        refused(client.get_object, Bucket="lake", Key="sales/written")
        refused(client.head_object, Bucket="lake", Key="sales/written")
        refused(client.copy_object, Bucket="lake", Key="sales/new", CopySource={"Bucket": "lake", "Key": "sales/orders"})
        for key in ("sales/written", "sales/parts"):
            client.delete_object(Bucket="lake", Key=key)
        assert not {"sales/written", "sales/parts", "sales/aborted"} & listed(client, "lake", "sales/")


def test_both_at_once_copies_inside_and_deletes_several_where_the_store_can(
    broker: Broker, owner: Any, answers: Answers
) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        source = {"Bucket": "lake", "Key": "sales/orders"}
        client.copy_object(Bucket="lake", Key="sales/copy", CopySource=source)
        assert client.get_object(Bucket="lake", Key="sales/copy")["Body"].read() == b"sales/orders"
        begun = client.create_multipart_upload(Bucket="lake", Key="sales/parts")["UploadId"]
        part = {"Bucket": "lake", "Key": "sales/parts", "UploadId": begun, "PartNumber": 1, "CopySource": source}
        several = {"Bucket": "lake", "Delete": {"Objects": [{"Key": "sales/copy"}, {"Key": "sales2/orders"}]}}
        if answers.copies_parts:
            client.upload_part_copy(**part)
        else:
            refused(client.upload_part_copy, **part)
        if answers.deletes_several:
            found = client.delete_objects(**several)
            assert [(one["Key"], one["Code"]) for one in found["Errors"]] == [("sales2/orders", "AccessDenied")]
        else:
            refused(client.delete_objects, **several)
            client.delete_object(Bucket="lake", Key="sales/copy")
        client.abort_multipart_upload(Bucket="lake", Key="sales/parts", UploadId=begun)
    assert not {"sales/copy", "sales/parts"} & listed(owner, "lake", "sales/")
    assert listed(owner, "lake", "sales2/") == {"sales2/orders"}


# --- what is beside it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", BESIDE)
def test_nothing_beside_the_prefix_can_be_touched(broker: Broker, owner: Any, answers: Answers, key: str) -> None:
    begun = owner.create_multipart_upload(Bucket="lake", Key=key)["UploadId"]
    theirs = {"Bucket": "lake", "Key": key, "UploadId": begun}
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        closed(client, "lake", key)
        refused(client.get_object_acl, Bucket="lake", Key=key)
        refused(client.get_object_tagging, Bucket="lake", Key=key)
        refused(client.create_multipart_upload, Bucket="lake", Key=key)
        refused(client.upload_part, **theirs, PartNumber=1, Body=b"")
        refused(client.list_parts, **theirs)
        refused(client.abort_multipart_upload, **theirs)
        source = {"Bucket": "lake", "Key": key}
        refused(client.copy_object, Bucket="lake", Key="sales/copy", CopySource=source)
        mine = {"Bucket": "lake", "Key": "sales/parts"}
        upload = client.create_multipart_upload(**mine)["UploadId"]
        refused(client.upload_part_copy, **mine, UploadId=upload, PartNumber=1, CopySource=source)
        client.abort_multipart_upload(**mine, UploadId=upload)
        several = {"Bucket": "lake", "Delete": {"Objects": [{"Key": key}]}}
        if answers.deletes_several:  # each is answered for itself then
            assert [one["Code"] for one in client.delete_objects(**several)["Errors"]] == ["AccessDenied"]
        else:
            refused(client.delete_objects, **several)
    owner.abort_multipart_upload(Bucket="lake", Key=key, UploadId=begun)
    assert owner.get_object(Bucket="lake", Key=key)["Body"].read() == key.encode()


@pytest.mark.parametrize("prefix", ["", "s", "sales", "sales2/", "Sales/", "finance/", "*", "sales*", "sales?"])
def test_no_listing_shows_the_siblings(broker: Broker, prefix: str) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        for call in (
            client.list_objects_v2,
            client.list_objects,
            client.list_object_versions,
            client.list_multipart_uploads,
        ):
            refused(call, Bucket="lake", Prefix=prefix)
            refused(call, Bucket="lake", Prefix=prefix, Delimiter="/")


def test_what_lists_without_regard_to_a_prefix_is_closed(broker: Broker, answers: Answers) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        refused(client.list_objects_v2, Bucket="lake")
        refused(client.list_objects_v2, Bucket="lake", StartAfter="sales/")
        refused(client.list_object_versions, Bucket="lake", Prefix="sales/")
        refused(client.list_multipart_uploads, Bucket="lake", Prefix="sales/")
        if answers.all_buckets == 200:
            assert client.list_buckets()["Buckets"] == []
        else:
            refused(client.list_buckets, answers.all_buckets)


def test_a_prefix_with_dots_leads_nowhere_else(broker: Broker) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        for prefix in ("sales/../", "sales/../sales2/", "sales/../../pond/sales/"):
            assert listed(client, "lake", prefix) == set()


def test_the_bucket_itself_stays_closed(broker: Broker) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        refused(client.head_bucket, Bucket="lake")
        refused(client.get_bucket_acl, Bucket="lake")
        refused(client.get_bucket_policy, Bucket="lake")
        refused(client.put_bucket_policy, Bucket="lake", Policy="{}")
        refused(client.put_bucket_acl, Bucket="lake", ACL="public-read")
        refused(client.put_bucket_versioning, Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
        refused(client.put_object_acl, Bucket="lake", Key="sales/orders", ACL="public-read")
        refused(client.delete_bucket, Bucket="lake")
        refused(client.create_bucket, Bucket="puddle")


def test_another_bucket_stays_closed_under_the_same_prefix(broker: Broker) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        closed(client, "pond", "sales/orders")
        refused(client.get_bucket_location, Bucket="pond")
        source = {"Bucket": "pond", "Key": "sales/orders"}
        refused(client.copy_object, Bucket="lake", Key="sales/copy", CopySource=source)


def test_what_is_not_there_outside_is_not_given_either(broker: Broker, answers: Answers) -> None:
    with granted(broker, "s3://lake/sales", access="read_write") as client:
        refused(client.get_object, 404, Bucket="lake", Key="sales/absent")
        refused(client.get_object, answers.absent_outside, Bucket="lake", Key="sales2/absent")
        refused(client.put_object, Bucket="lake", Key="sales2/absent", Body=b"")
        refused(client.delete_object, Bucket="lake", Key="sales2/absent")


# --- several locations, and less than one -----------------------------------------------------------------------------


def test_several_locations_are_granted_at_once_and_nothing_between_them(broker: Broker) -> None:
    with granted(broker, "s3://lake/finance", "s3://lake/sales/2026", access="read_write") as client:
        assert listed(client, "lake", "finance/") == {"finance/ledger"}
        assert listed(client, "lake", "sales/2026/") == {"sales/2026/may"}
        for key in ("finance/ledger", "sales/2026/may"):
            assert client.get_object(Bucket="lake", Key=key)["Body"].read() == key.encode()
        for key in ("sales/orders", "sales/2027/may", "other"):
            closed(client, "lake", key)


def test_two_buckets_keep_each_its_own_prefix(broker: Broker, owner: Any) -> None:
    for bucket in ("lake", "pond"):
        for folder in ("left", "right"):
            owner.put_object(Bucket=bucket, Key=f"{folder}/x", Body=b"")
    with granted(broker, "s3://lake/left", "s3://pond/right", access="read_write") as client:
        for bucket, inside, outside in (("lake", "left/x", "right/x"), ("pond", "right/x", "left/x")):
            client.get_object(Bucket=bucket, Key=inside)
            client.put_object(Bucket=bucket, Key=inside, Body=b"")
            assert listed(client, bucket, inside[:-1]) == {inside}
            closed(client, bucket, outside)
            refused(client.list_objects_v2, Bucket=bucket)
            refused(client.copy_object, Bucket=bucket, Key=inside, CopySource={"Bucket": bucket, "Key": outside})


def test_a_handle_that_was_narrowed_opens_its_part_alone(broker: Broker) -> None:
    whole = broker.storage("lake", "s3://lake/sales", access="read_write")
    part = whole.downscope("s3://lake/sales/2026", access="read")
    with opened(part) as client:
        assert client.get_object(Bucket="lake", Key="sales/2026/may")["Body"].read() == b"sales/2026/may"
        assert listed(client, "lake", "sales/2026/") == {"sales/2026/may"}
        refused(client.put_object, Bucket="lake", Key="sales/2026/may", Body=b"")
        refused(client.delete_object, Bucket="lake", Key="sales/2026/may")
        for key in ("sales/orders", "sales/2027/may", "sales2/orders"):
            closed(client, "lake", key)
        refused(client.list_objects_v2, Bucket="lake", Prefix="sales/")
    with opened(whole) as client:
        client.put_object(Bucket="lake", Key="sales/orders", Body=b"sales/orders")
    with pytest.raises(AccessDenied, match="outside what the handle is for"):
        part.downscope("s3://lake/sales")


def test_the_bucket_root_is_whole_where_it_is_asked_by_name(broker: Broker) -> None:
    with granted(broker, "s3://lake/", access="read") as client:
        assert {"other", "sales2/orders"} <= {found["Key"] for found in client.list_objects_v2(Bucket="lake")["Contents"]}
        client.get_object(Bucket="lake", Key="other")
        refused(client.put_object, Bucket="lake", Key="other", Body=b"")
        refused(client.get_object, Bucket="pond", Key="sales/orders")
