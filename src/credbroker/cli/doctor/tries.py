"""What is tried: which grants are asked for, what must work inside them, and what the store has to refuse. Pure.

What a reader is to be refused must be there, where that can be had. S3 answers ``AccessDenied`` for an absent object too
unless the keys may list (Amazon S3 API reference, GetObject, "Permissions"): a policy that fenced listings and let every
object be read would look like a fence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from credbroker.location import Location, covering
from credbroker.request import Access

NAME = ".credbroker-doctor-"
"""All names that are written begin with this and 16 random hexadecimal digits."""
ASSUME_AGAIN = "assume the role again, without a policy"
"""What is asked of STS, where the keys are a role's."""


class Act(Enum):
    """One call."""

    READ = "GetObject"
    LIST = "ListObjectsV2"
    WRITE = "PutObject"
    COPY = "CopyObject"
    DELETE = "DeleteObject"
    ASSUME = "AssumeRole"


@dataclass(frozen=True, slots=True)
class Ask:
    """A grant to ask for. ``name`` stands in the report."""

    name: str
    location: Location
    access: Access


@dataclass(frozen=True, slots=True)
class Try:
    """One call with one grant. ``key`` is an object's, for a listing its prefix, "" for a role; ``source`` is copied."""

    what: str
    ask: Ask
    act: Act
    key: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Tries:
    """Before anything else ``before`` must work, and ``after`` all else: keys may end in between, and then refuse too."""

    before: tuple[Try, ...]
    outside: tuple[Try, ...]
    after: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class Ground:
    """The names of one check. ``outside`` is a key at the bucket's root; None where the profile allows all of the bucket.

    The sibling's name begins with the folder's: a grant that compared letters instead of segments would reach over.
    """

    location: Location
    folder: Location
    sibling: Location
    outside: str | None

    @classmethod
    def below(cls, location: Location, allowed: tuple[Location, ...], draw: str) -> Ground:
        """The ground below ``location``. Raises ``ConfigurationError`` where a key would be too long."""
        name = f"{NAME}{draw}"
        beside = Location.parse(f"{location.scheme}://{location.bucket}/{name}")
        return cls(
            location,
            Location.parse(f"{location}{name}-a"),
            Location.parse(f"{location}{name}-ab"),
            beside.key if covering(allowed, beside) is None else None,
        )


def tries(ground: Ground, access: Access, found: str | None) -> Tries:
    """The tries for a profile that allows ``access``.

    ``found`` is the key of any object in the location, for a profile that cannot put one there to be refused.
    """
    asks = _Asks(ground)
    if access is Access.READ:
        return _of_reading(ground, asks, found)
    return _of_writing(ground, asks, access)


@dataclass(frozen=True, slots=True)
class _Asks:
    ground: Ground

    def inside(self, access: Access) -> Ask:
        return Ask(access.value, self.ground.folder, access)

    @property
    def sibling(self) -> Ask:
        return Ask("write, for the sibling", self.ground.sibling, Access.WRITE)


def whole(location: Location) -> Ask:
    """A grant to read all of a location, by which an object is found that a narrower one has to keep closed."""
    return Ask("read, for the location", location, Access.READ)


def _of_reading(ground: Ground, asks: _Asks, found: str | None) -> Tries:
    main, folder, sibling = asks.inside(Access.READ), ground.folder.prefix, ground.sibling.prefix
    listing = Try("list the folder", main, Act.LIST, folder)
    before, read = [listing], Try("read in the sibling, where nothing is", main, Act.READ, f"{sibling}probe")
    if found is not None:
        before.append(Try("read an object of the location", whole(ground.location), Act.READ, found))
        read = Try("read an object of the location, outside the folder", main, Act.READ, found)
    outside = [
        read,
        *_listings(ground, main),
        Try("write into the sibling", main, Act.WRITE, f"{sibling}new"),
        Try("delete in the sibling", main, Act.DELETE, f"{sibling}probe"),
        *_beyond(ground, main),
        Try("write into the folder, with a grant to read", main, Act.WRITE, f"{folder}new"),
        Try("delete in the folder, with a grant to read", main, Act.DELETE, f"{folder}probe"),
        Try(ASSUME_AGAIN, main, Act.ASSUME, ""),
    ]
    return Tries(tuple(before), tuple(outside), (_again(listing),))


def _of_writing(ground: Ground, asks: _Asks, access: Access) -> Tries:
    main, reads = asks.inside(access), access.covers(Access.READ)
    folder, sibling = ground.folder.prefix, ground.sibling.prefix
    reader, writer = asks.inside(Access.READ), asks.inside(Access.WRITE)
    probe, theirs, second = f"{folder}probe", f"{sibling}probe", f"{folder}second"
    listing = Try("list the folder", main, Act.LIST, folder)
    read = Try("read it", main, Act.READ, probe)
    reread = Try("read it with the grant to read", reader, Act.READ, probe)
    write = Try("write an object into the folder", main, Act.WRITE, probe)
    before = [
        write,
        *([read] if reads else []),
        listing,
        *([reread, Try("write a second one with the grant to write", writer, Act.WRITE, second)] if reads else []),
        Try("write an object into the sibling, to be refused", asks.sibling, Act.WRITE, theirs),
    ]
    outside = [
        Try("read the sibling's object", main, Act.READ, theirs),
        Try("copy the sibling's object into the folder", main, Act.COPY, f"{folder}copy", source=theirs),
        *_listings(ground, main),
        Try("write into the sibling", main, Act.WRITE, f"{sibling}new"),
        *_beyond(ground, main),
    ]
    if reads:
        outside += [
            Try("write into the folder, with a grant to read", reader, Act.WRITE, f"{folder}new"),
            Try("delete in the folder, with a grant to read", reader, Act.DELETE, second),
        ]
    outside += [
        Try("read in the folder, with a grant to write", writer, Act.READ, probe),
        Try(ASSUME_AGAIN, main, Act.ASSUME, ""),
        # The last one: were it allowed, there would be nothing left for the others to find.
        Try("delete the sibling's object", main, Act.DELETE, theirs),
    ]
    after = [
        *([_again(read), _again(reread)] if reads else []),
        _again(listing),
        *([Try("delete the second one with the grant to write", writer, Act.DELETE, second)] if reads else []),
        Try("delete the object in the folder", main, Act.DELETE, probe),
    ]
    return Tries(tuple(before), tuple(outside), tuple(after))


def _again(one: Try) -> Try:
    return replace(one, what=f"{one.what}, again")


def _listings(ground: Ground, ask: Ask) -> list[Try]:
    parent = ground.location.prefix
    above = [Try(f"list above the folder, {ground.location}", ask, Act.LIST, parent)] if parent else []
    return [
        Try("list the sibling", ask, Act.LIST, ground.sibling.prefix),
        Try("list all names that begin as the folder's", ask, Act.LIST, ground.folder.key),
        *above,
        Try(f"list the whole bucket, s3://{ground.location.bucket}/", ask, Act.LIST, ""),
    ]


def _beyond(ground: Ground, ask: Ask) -> list[Try]:
    if ground.outside is None:
        return []
    place = f"outside the profile, s3://{ground.location.bucket}/{ground.outside}"
    return [
        Try(f"write {place}", ask, Act.WRITE, ground.outside),
        Try("read what would be there", ask, Act.READ, ground.outside),
    ]
