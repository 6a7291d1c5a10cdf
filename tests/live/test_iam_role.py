"""``iam_role`` against two STS: what is given, whom they refuse, and what cannot be made of what was given.

What the keys open, and what they do not, stands in ``test_scope``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pyarrow.fs
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.servers.store import Answers, Store, entered, owned, platform

from credbroker import Broker
from credbroker.cli.demo.seaweed import REGION
from credbroker.credentials import S3Credentials
from credbroker.errors import IssueDenied
from credbroker.location import Location
from credbroker.request import Access

if TYPE_CHECKING:
    from tests.servers.ceph import Ceph

LONG = b"x" * (11 * 1024 * 1024)  # more than pyarrow sends in one part


def given(broker: Broker, location: str, access: str) -> S3Credentials:
    value = broker.storage("lake", location, access=access).get()
    assert isinstance(value, S3Credentials)
    assert value.session_token is not None
    return value


def assumed_with(value: S3Credentials, role_arn: str) -> dict[str, Any]:
    """What STS gives for the role, with no policy, to whoever holds ``value``."""
    assert value.session_token is not None
    sts = boto3.client(
        "sts",
        endpoint_url=value.endpoint,
        region_name=REGION,
        aws_access_key_id=value.access_key_id,
        aws_secret_access_key=value.secret_access_key.get_secret_value(),
        aws_session_token=value.session_token.get_secret_value(),
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    try:
        return dict(sts.assume_role(RoleArn=role_arn, RoleSessionName="again")["Credentials"])
    finally:
        sts.close()


def test_the_value_states_what_was_granted(broker: Broker, store: Store) -> None:
    value = given(broker, "s3://lake/sales", "read")
    assert (value.locations, value.access) == ((Location.parse("s3://lake/sales"),), Access.READ)
    assert (value.endpoint, value.region) == (store.s3_endpoint, REGION)


def test_pyarrow_lists_reads_and_writes_below_the_prefix(
    broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Arrow's newer releases end a body with its checksum and do not say its length; Ceph 16 answers 411 to that.
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    value = given(broker, "s3://lake/arrow", "read_write")
    assert value.session_token is not None
    files = pyarrow.fs.S3FileSystem(
        access_key=value.access_key_id,
        secret_key=value.secret_access_key.get_secret_value(),
        session_token=value.session_token.get_secret_value(),
        endpoint_override=store.s3_endpoint,
        region=REGION,
    )
    with files.open_output_stream("lake/arrow/deep/file") as stream:
        stream.write(LONG)
    selected = files.get_file_info(pyarrow.fs.FileSelector("lake/arrow", recursive=True))
    assert "lake/arrow/deep/file" in {found.path for found in selected}
    assert files.get_file_info("lake/arrow/deep").type == pyarrow.fs.FileType.Directory
    assert files.get_file_info("lake/arrow/absent").type == pyarrow.fs.FileType.NotFound
    assert files.open_input_file("lake/arrow/deep/file").size() == len(LONG)
    files.delete_file("lake/arrow/deep/file")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.get_file_info(pyarrow.fs.FileSelector("lake/arrow2"))


@pytest.mark.usefixtures("keys")
def test_a_role_that_does_not_trust_us_is_a_refused_grant(store: Store, answers: Answers) -> None:
    closed = platform(store, role_arn=answers.closed_role_arn)
    with Broker.from_config(closed) as other, pytest.raises(IssueDenied, match="trust policy") as caught:
        other.storage("lake", "s3://lake/sales", access="read").get()
    assert caught.value.grant_denied


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_base_keys_are_our_own_fault_where_sts_says_so_and_are_not_shown(
    broker: Broker, answers: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = "AWS_ACCESS_KEY_ID" if answers.knows_wrong_keys else "trust policy names the base identity"
    monkeypatch.setenv(name, "canary")
    with pytest.raises(IssueDenied, match=text) as caught:
        broker.storage("lake", "s3://lake/sales/elsewhere", access="read").get()
    assert caught.value.grant_denied is not answers.knows_wrong_keys
    assert "canary" not in str(caught.value)


def test_what_was_given_cannot_take_the_role_anew_without_a_policy(broker: Broker, store: Store) -> None:
    value = given(broker, "s3://lake/sales", "read")
    with pytest.raises(ClientError) as caught:
        assumed_with(value, store.role_arn)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_on_ceph_it_can_where_the_trust_policy_does_not_bar_sessions(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a session policy prevents it: Ceph 16 asks the trust policy alone, and takes a session for its user."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ceph.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ceph.secret_key)
    with owned(ceph) as owner:
        owner.create_bucket(Bucket="payroll")
        owner.put_object(Bucket="payroll", Key="salaries", Body=b"")
    with Broker.from_config(platform(ceph, role_arn=ceph.session_role_arn)) as broker:
        keys = assumed_with(given(broker, "s3://lake/sales", "read"), ceph.session_role_arn)
    with entered(ceph.s3_endpoint, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]) as wider:
        assert wider.head_object(Bucket="payroll", Key="salaries")["ContentLength"] == 0
