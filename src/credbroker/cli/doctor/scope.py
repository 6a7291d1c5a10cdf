"""The check of ``doctor --scope``: ask for grants, make the tries, and take away what was put."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from credbroker.cli.doctor.assume_again import assume_again
from credbroker.cli.doctor.report import Report, worked
from credbroker.cli.doctor.tries import Act, Ask, Ground, Try, tries, whole
from credbroker.cli.fence import Attempt, Outcome, Store
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.integrations.endpoint import Endpoint, endpoint_of
from credbroker.location import Location
from credbroker.profile import StorageProfile
from credbroker.providers.requirements import misconfigured
from credbroker.request import Access

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from credbroker.broker import Broker

    Call = Callable[[S3Client], object]

_BODY = b"written by credbroker doctor; may be deleted\n"
_LOOKED_AT = 20  # objects, to find one that is no folder's mark
_NOTHING_THERE = (
    "the location holds no object, and the profile cannot write one: reading was tried with a name that has none, which S3 "
    "may refuse for that alone"
)
_TELLS_NAMES = (
    "the store answers 404 for a name outside where nothing is, and refuses what is there: it tells the holder of the keys "
    "which names are taken, and gives no content"
)


def check(broker: Broker, name: str, location: str | None = None) -> Report:
    """Try the fence of the storage profile ``name`` below ``location``, else below the profile's first one.

    Raises ``ConfigurationError`` for a profile that is not on S3, ``AccessDenied`` for a location that it does not allow,
    and what an issue raises. Whatever happens, what was put is deleted again.
    """
    profile = cast("StorageProfile", broker.profile("storage", name))
    if profile.type != "s3":
        raise misconfigured(profile, "type", f"is {profile.type!r}: doctor --scope tries S3 only in this version")
    if location is None and not profile.locations:
        raise misconfigured(profile, "locations", "is missing: the profile allows nothing, so there is nothing to try")
    place = Location.parse(location) if location is not None else profile.locations[0]
    ground = Ground.below(place, profile.locations, secrets.token_hex(8))
    report = Report(profile.name, profile.where, ground.location, ground.folder, ground.sibling, profile.access)
    if broker.storage(name, ground.folder, access=profile.access).explain().policy is None:
        return replace(report, unscoped=_unscoped(profile))
    return _Check(broker, profile, ground).run(report)


def _unscoped(profile: StorageProfile) -> str:
    mode = profile.credentials.mode if profile.credentials is not None else None
    return (
        f"the credentials of mode {mode!r} are unscoped: nothing narrows them, whoever is given them for one folder reaches "
        "all that their owner reaches. Nothing was tried"
    )


class _Check:
    """One check, and the books of what it has put."""

    def __init__(self, broker: Broker, profile: StorageProfile, ground: Ground) -> None:
        self._broker = broker
        self._profile = profile
        self._ground = ground
        self._stores: dict[Endpoint, Store] = {}
        # By key: the grant that put it. In the second, those whose writing nobody confirmed.
        self._put: dict[str, Ask] = {}
        self._unsure: dict[str, Ask] = {}
        self._controls: list[Attempt] = []
        self._attempts: list[Attempt] = []
        self._notes: list[str] = []

    def run(self, report: Report) -> Report:
        try:
            self._try_all()
        except CredbrokerError as error:
            if left := self._clean():
                error.message += f" ({left})"
            raise
        except BaseException:
            if left := self._clean():
                print(f"credbroker: {left}", file=sys.stderr)
            raise
        self._clean()
        if self._unsure:
            self._notes.append(f"the store answered neither to writing nor to deleting: {self._named(self._unsure)}")
        return replace(
            report,
            controls=tuple(self._controls),
            attempts=tuple(self._attempts),
            left=tuple(map(self._uri, self._put)),
            notes=tuple(self._notes),
        )

    def _try_all(self) -> None:
        found = None
        if self._profile.access is Access.READ:
            found = self._any_object()
            if not all(map(worked, self._controls)):
                return
        planned = tries(self._ground, self._profile.access, found)
        for one in planned.before:
            self._controls.append(self._make(one))
            if not worked(self._controls[-1]):
                return
        outside = [one for one in planned.outside if one.act is not Act.ASSUME or self._is_a_role()]
        self._attempts = _told_apart(planned.before, outside, [self._make(one) for one in outside])
        if any(one.outcome is Outcome.ABSENT for one in self._attempts):
            self._notes.append(_TELLS_NAMES)
        self._controls += [self._make(one) for one in planned.after]

    def _is_a_role(self) -> bool:
        return self._profile.credentials is not None and self._profile.credentials.mode == "iam_role"

    def _any_object(self) -> str | None:
        """The key of an object in the location, found with a grant to read all of it."""
        bucket, prefix = self._ground.location.bucket, self._ground.location.prefix
        keys: list[str] = []

        def listing(s3: S3Client) -> None:
            answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_LOOKED_AT)
            keys.extend(found["Key"] for found in answer.get("Contents", []))

        ask = whole(self._ground.location)
        self._controls.append(self._send(f"list the location, {self._ground.location}", ask, listing))
        first = next((key for key in keys if not key.endswith("/")), None)
        if first is None:
            self._notes.append(_NOTHING_THERE)
        return first

    def _make(self, one: Try) -> Attempt:
        call = _call(one, self._ground.location.bucket)
        if call is None:
            return assume_again(one.what, self._profile, self._keys(one.ask), self._broker.network, grant=one.ask.name)
        puts = one.act in (Act.WRITE, Act.COPY)
        attempt = self._send(one.what, one.ask, call, puts=one.key if puts else None)
        if puts and attempt.outcome is not Outcome.SILENT:
            del self._unsure[one.key]
        if puts and attempt.outcome is Outcome.DONE:
            self._put[one.key] = one.ask
        if one.act is Act.DELETE and attempt.allowed:
            self._put.pop(one.key, None)
            self._unsure.pop(one.key, None)
        return attempt

    def _send(self, what: str, ask: Ask, call: Call, *, puts: str | None = None) -> Attempt:
        keys = self._keys(ask)
        place = endpoint_of(keys, ask.location.bucket, self._broker.network)
        place = place._replace(virtual=place.virtual and not self._profile.path_style_access)
        if place not in self._stores:
            self._stores[place] = Store(place)
        if puts is not None:
            self._unsure[puts] = ask  # before it is sent: an answer may never come, or Ctrl-C before it
        return self._stores[place].attempt(what, keys, call, grant=ask.name)

    def _keys(self, ask: Ask) -> S3Credentials:
        # Asked anew each time: a session of seconds is replaced on the way.
        keys = self._broker.storage(self._profile.name, ask.location, access=ask.access).get(wait=True)
        if not isinstance(keys, S3Credentials):
            raise ConfigurationError(f"is given {type(keys).__name__}, not keys for S3", profile=self._profile.name)
        return keys

    def _clean(self) -> str:
        """Delete what was put, each with the grant that put it, and say what could not be after a second time of trying."""
        for key, ask in [*self._put.items(), *self._unsure.items()] * 2:
            if key in self._put or key in self._unsure:
                try:
                    self._make(Try("delete", ask, Act.DELETE, key))
                except CredbrokerError:
                    continue  # it stays in the books
        left = f"could not be deleted again: {self._named(self._put)}" if self._put else ""
        unsure = f"may have been written, and could not be deleted: {self._named(self._unsure)}" if self._unsure else ""
        return "; ".join(filter(None, (left, unsure)))

    def _named(self, keys: Iterable[str]) -> str:
        return ", ".join(map(self._uri, keys))

    def _uri(self, key: str) -> str:
        return f"s3://{self._ground.location.bucket}/{key}"


def _told_apart(before: Sequence[Try], outside: Sequence[Try], made: Sequence[Attempt]) -> list[Attempt]:
    """``made``, with each 404 for what was never put that proves no look: the same grant was refused what is there.

    Ceph answers so: it takes a session for the bucket's owner, who may know what is not there.
    """
    there = {one.key for one in before if one.act is not Act.LIST}
    tried = list(zip(outside, made, strict=True))
    refused = {one.ask for one, attempt in tried if one.act is Act.READ and one.key in there and attempt.refused}

    def is_absent(one: Try, attempt: Attempt) -> bool:
        looked = one.act is Act.READ and attempt.outcome is Outcome.LOOKED
        return looked and one.key not in there and one.ask in refused

    return [replace(each, outcome=Outcome.ABSENT) if is_absent(one, each) else each for one, each in tried]


def _call(one: Try, bucket: str) -> Call | None:
    """None for what the store is not asked, but its STS."""
    match one.act:
        case Act.READ:
            return lambda s3: s3.get_object(Bucket=bucket, Key=one.key)
        case Act.LIST:
            return _listing(bucket, one.key)
        case Act.WRITE:
            return lambda s3: s3.put_object(Bucket=bucket, Key=one.key, Body=_BODY)
        case Act.COPY:
            return lambda s3: s3.copy_object(Bucket=bucket, Key=one.key, CopySource={"Bucket": bucket, "Key": one.source})
        case Act.DELETE:
            return lambda s3: s3.delete_object(Bucket=bucket, Key=one.key)
        case Act.ASSUME:
            return None


def _listing(bucket: str, prefix: str) -> Call:
    if prefix:
        return lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    return lambda s3: s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
