"""An S3 store with an STS as the tests know it, and how they enter it: as its owner, or with what a broker is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from credbroker import Broker
from credbroker.cli.demo.seaweed import REGION
from credbroker.credentials import S3Credentials
from credbroker.source import CredentialSource
from tests.servers.ceph import Ceph


class Store(Protocol):
    """One store, with the buckets ``lake`` and ``pond``; ``role_arn`` may do everything with both."""

    access_key: str
    secret_key: str

    @property
    def s3_endpoint(self) -> str: ...

    @property
    def sts_endpoint(self) -> str: ...

    @property
    def role_arn(self) -> str: ...


def platform(store: Store, **credentials: Any) -> dict[str, Any]:
    """A platform file for all of both buckets: ``lake`` as a profile is by default, ``escaping`` with ``policy_escapes``."""
    role = {"mode": "iam_role", "role_arn": store.role_arn, "sts_endpoint": store.sts_endpoint}
    lake = {
        "endpoint": store.s3_endpoint,
        "region": REGION,
        "locations": ["s3://lake/", "s3://pond/"],
        "access": "read_write",
        "credentials": {**role, "credential_source": "environment", **credentials},
    }
    return {"version": 1, "environment": "test", "storage": {"lake": lake, "escaping": {**lake, "policy_escapes": True}}}


@dataclass(frozen=True, slots=True)
class Answers:
    """Where two stores differ. Of all this only the first opens anything outside, and no policy can prevent it."""

    case_matters: bool
    """Whether ``Sales/`` is another prefix than ``sales/``. SeaweedFS 4.48 compares ARNs without regard to case."""
    absent_outside: int
    """For a key outside that is not there. Ceph tells a bucket's owner, whose session it is, that there is none."""
    all_buckets: int
    """For a listing of the buckets: SeaweedFS gives an empty one."""
    deletes_several: bool
    """Whether one call deletes several objects inside. Ceph 16 refuses it to any session that has a policy at all."""
    copies_parts: bool
    """Whether a part of an upload is copied from inside. Ceph 16 refuses that likewise."""
    backslash: bool
    """Whether a name with a backslash works. SeaweedFS keeps such a key under a slash, which is another name."""
    colon: bool
    """Whether a name with a colon works. Ceph 16 splits the ARN there, and its STS refuses the policy."""
    closed_role_arn: str
    """A role that does not trust us: SeaweedFS has none of this name, Ceph's trusts somebody else."""
    knows_wrong_keys: bool
    """Whether STS says that it does not accept the base identity's keys. Ceph 16 says AccessDenied, as to all else."""


ANSWERS = {
    "SeaweedFS": Answers(
        case_matters=False,
        absent_outside=403,
        all_buckets=200,
        deletes_several=True,
        copies_parts=True,
        backslash=False,
        colon=True,
        closed_role_arn="arn:aws:iam::123456789012:role/Closed",
        knows_wrong_keys=True,
    ),
    "Ceph": Answers(
        case_matters=True,
        absent_outside=404,
        all_buckets=403,
        deletes_several=False,
        copies_parts=False,
        backslash=True,
        colon=False,
        closed_role_arn=Ceph.closed_role_arn,
        knows_wrong_keys=False,
    ),
}
"""By the name of the store's class."""


@contextmanager
def entered(endpoint: str, access_key: str, secret_key: str, session_token: str | None = None) -> Iterator[Any]:
    """The store at ``endpoint``, by these keys; each call is made once."""
    s3 = _loaded().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, proxies={}),
    )
    with closing(s3):
        yield s3


@contextmanager
def owned(store: Store) -> Iterator[Any]:
    """The store, by its owner's keys."""
    with entered(store.s3_endpoint, store.access_key, store.secret_key) as s3:
        yield s3


@contextmanager
def opened(source: CredentialSource[Any]) -> Iterator[Any]:
    """The store, by what ``source`` gives."""
    value = source.get()
    assert isinstance(value, S3Credentials)
    assert value.endpoint is not None
    assert value.session_token is not None
    secret, token = value.secret_access_key.get_secret_value(), value.session_token.get_secret_value()
    with entered(value.endpoint, value.access_key_id, secret, token) as s3:
        yield s3


@contextmanager
def granted(broker: Broker, *locations: str, access: str, profile: str = "lake") -> Iterator[Any]:
    """The store, by keys for ``locations``."""
    with opened(broker.storage(profile, *locations, access=access)) as s3:
        yield s3


def refused(call: Callable[..., object], status: int = 403, /, **arguments: Any) -> None:
    """Assert that the store answers ``call`` with ``status``."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status, arguments


def listed(s3: Any, bucket: str, prefix: str) -> set[str]:
    """The keys that a listing of the prefix shows."""
    return {found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])}


def closed(s3: Any, bucket: str, key: str) -> None:
    """Assert that nothing can be done with an object that is there, and that its folder cannot be listed."""
    refused(s3.get_object, Bucket=bucket, Key=key)
    refused(s3.head_object, Bucket=bucket, Key=key)
    refused(s3.put_object, Bucket=bucket, Key=key, Body=b"")
    refused(s3.delete_object, Bucket=bucket, Key=key)
    refused(s3.list_objects_v2, Bucket=bucket, Prefix=key.rpartition("/")[0] + "/")


@cache
def _loaded() -> boto3.session.Session:
    """What is slow to load for a client, once for all of them."""
    return boto3.session.Session()
