"""Attempts to reach outside the granted prefix with credbroker's own credentials. The store has to refuse each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from credbroker.cli.demo.seaweed import BUCKET, REGION
from credbroker.cli.fence import Attempt, Outcome, Store
from credbroker.credentials import S3Credentials
from credbroker.integrations.endpoint import Endpoint
from credbroker.location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from credbroker.cli.fence import Call

ELSEWHERE_KEY = "payroll/salaries.csv"
"""An object in another bucket."""


@dataclass(frozen=True, slots=True)
class Target:
    """A table's folder and one data file in it."""

    folder: Location
    data_key: str


def store(endpoint: str) -> Store:
    """The demonstration's store at ``endpoint``: on loopback, path style."""
    return Store(Endpoint(endpoint, REGION, virtual=False, proxy=None, ca_file=None))


def client(endpoint: str, access_key: str, secret_key: str, session_token: str | None = None) -> S3Client:
    """An S3 client that tries once."""
    token = SecretStr(session_token) if session_token else None
    return store(endpoint).client(S3Credentials(access_key, SecretStr(secret_key), token))


def find(admin: S3Client, location: str) -> Target:
    """The table's folder and its first data file."""
    folder = Location.parse(location)
    listing = admin.list_objects_v2(Bucket=folder.bucket, Prefix=f"{folder.prefix}data/", MaxKeys=1)
    return Target(folder, listing["Contents"][0]["Key"])


def attempts(
    get: Callable[[], S3Credentials], endpoint: str, own: Target, sibling: Target, *, read_only: bool
) -> Iterator[Attempt]:
    """Make the attempts one by one; ``read_only`` adds those that only a grant without writing must refuse.

    ``get`` gives the credential that is current, as the table's files use it. Before the first one a file inside is read:
    only where keys open what they should does a refusal elsewhere say something. If they do not, that is all that is told.
    """
    tried = store(endpoint)

    def attempt(what: str, call: Call) -> Attempt:
        return tried.attempt(what, get(), call)

    inside = attempt("read its own file", lambda s3: s3.get_object(Bucket=own.folder.bucket, Key=own.data_key))
    if inside.outcome is not Outcome.DONE:
        yield replace(inside, outcome=Outcome.OTHER)
        return
    for what, call in [*_beside(own, sibling), *(_writing(own) if read_only else [])]:
        yield attempt(what, call)


def _beside(own: Target, sibling: Target) -> list[tuple[str, Call]]:
    bucket, theirs = sibling.folder.bucket, sibling.folder.prefix
    parent = f"{own.folder.key.rpartition('/')[0]}/"
    return [
        (f"read a file of {sibling.folder}", lambda s3: s3.get_object(Bucket=bucket, Key=sibling.data_key)),
        (f"list {sibling.folder}", lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=theirs)),
        (f"write into {sibling.folder}", lambda s3: s3.put_object(Bucket=bucket, Key=f"{theirs}data/x")),
        (f"delete a file of {sibling.folder}", lambda s3: s3.delete_object(Bucket=bucket, Key=sibling.data_key)),
        (f"list the parent, s3://{bucket}/{parent}", lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=parent)),
        (f"list the whole bucket, s3://{bucket}/", lambda s3: s3.list_objects_v2(Bucket=bucket)),
        (f"read s3://{BUCKET}/{ELSEWHERE_KEY}", lambda s3: s3.get_object(Bucket=BUCKET, Key=ELSEWHERE_KEY)),
    ]


def _writing(own: Target) -> list[tuple[str, Call]]:
    bucket, key = own.folder.bucket, f"{own.folder.prefix}data/x"
    return [
        ("write into its own folder, with a grant to read", lambda s3: s3.put_object(Bucket=bucket, Key=key)),
        ("delete its own file, with a grant to read", lambda s3: s3.delete_object(Bucket=bucket, Key=own.data_key)),
    ]
