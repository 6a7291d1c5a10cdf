"""What a shared access signature (SAS) of Azure says of itself. Pure; it trusts no field and verifies no signature.

Sources: Azure Storage REST API, "Create a user delegation SAS", "Create a service SAS" and "Create an account SAS".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.request import Access

# Clients append a SAS to each request's query as it is: any other name in it ("comp", "restype", "versionid") would be a
# part of the request, and not of the signature.
_NAMES = re.compile(
    r"s(v|r|dd|p|t|e|pr|ip|ig|s|rt|i|es|koid|ktid|kt|ke|ks|kv|kdutid|duoid|aoid|uoid|cid|rh|rq)|rsc[cdelt]", re.ASCII
)
# What stands in a query unencoded: a "#" would end it, and with it the signature.
_VALUE = re.compile(r"[A-Za-z0-9._~%:/,+=-]*")
_NEEDED = ("sv", "sr", "sp", "se", "sig")
_PROTOCOLS = ("https", "https,http", "http,https")  # an absent one means both; abfss:// is always TLS
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,7})?)?Z)?", re.ASCII)
_EARLIEST, _LATEST = datetime(2001, 1, 1, tzinfo=UTC), datetime(2286, 1, 1, tzinfo=UTC)

_READING, _WRITING = frozenset("rlf"), frozenset("acwdxymt")
# Ownership, access control lists ("e" too, where the key's identity owns the file, as it does if it wrote it), immutability
# policies: what these change outlives the SAS, and could give anyone else a lasting right. No access includes that.
_GOVERNING = frozenset("opie")


@dataclass(frozen=True, slots=True)
class SignedScope:
    """What a SAS for a container or a directory grants. It does not say which directory that is, only how deep it lies."""

    depth: int | None
    """Segments of the directory below the container (``sdd``); None for the whole container."""
    access: Access
    ends: datetime
    """By the store's clock: the end of the SAS or of the key that it is signed with, whichever comes first."""

    def within(self, prefix: Location, *, allow_container_scope: bool) -> Location:
        """The location that is granted, of a SAS given out for ``prefix``. Raises ``MalformedResponse`` for a wider one.

        A directory deeper than the prefix can only be less than what was said, one less deep is a parent of it.
        """
        root = Location(prefix.scheme, prefix.bucket, "")
        if self.depth is None and (allow_container_scope or prefix == root):
            return root
        if self.depth is None:
            raise MalformedResponse(
                f"the SAS for {prefix} is for its whole container: have the catalog sign for the directory (its account "
                "needs a hierarchical namespace), or set allow_container_scope on the storage profile that contains it"
            )
        if self.depth < len(prefix.segments):
            raise MalformedResponse(
                f"the SAS for {prefix} is for a directory {self.depth} deep (sdd), which is one above that prefix"
            )
        return prefix


def signed_scope(sas: str) -> SignedScope:
    """Read a SAS, without a question mark before it. Raises ``MalformedResponse`` that names the field, not its value."""
    fields = _fields(sas)
    if "ss" in fields or "srt" in fields:
        raise MalformedResponse("the SAS is an account SAS (ss, srt): it is for the whole storage account")
    if "si" in fields:
        raise MalformedResponse("the SAS names a stored access policy (si), and so does not say itself what it grants")
    for name in _NEEDED:
        if not fields.get(name):
            raise MalformedResponse(f"the SAS has no {name!r}")
    if fields.get("spr", "https") not in _PROTOCOLS:
        raise MalformedResponse("the SAS is not for https (spr)")
    ends = _time(fields, "se")
    if "ske" in fields:
        ends = min(ends, _time(fields, "ske"))
    return SignedScope(_depth(fields), _access(fields["sp"]), ends)


def _fields(sas: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for pair in sas.split("&"):
        name, separator, value = pair.partition("=")
        if not separator or not _NAMES.fullmatch(name) or not _VALUE.fullmatch(value):
            raise MalformedResponse("the SAS has a field that is none of a SAS")
        if name in fields:  # two readers may each take another one
            raise MalformedResponse(f"the SAS has two of {name!r}")
        fields[name] = unquote(value)
    return fields


def _depth(fields: Mapping[str, str]) -> int | None:
    resource = fields["sr"]
    if resource == "c":
        return None
    if resource != "d":
        raise MalformedResponse("the SAS is neither for a container nor for a directory (sr)")
    depth = fields.get("sdd", "")
    if not re.fullmatch(r"[0-9]{1,3}", depth):
        raise MalformedResponse("the SAS is for a directory, and its depth (sdd) is no number")
    return int(depth)


def _access(permissions: str) -> Access:
    letters = frozenset(permissions)
    if letters & _GOVERNING:
        raise MalformedResponse(
            "the SAS may change ownership, access control lists or immutability (sp has o, p, e or i): that outlives it"
        )
    if not letters <= _READING | _WRITING:
        raise MalformedResponse("the SAS has permissions that are none (sp)")
    if not letters & _WRITING:
        return Access.READ
    return Access.READ_WRITE if "r" in letters else Access.WRITE


def _time(fields: Mapping[str, str], name: str) -> datetime:
    stated = fields[name]
    try:
        found = datetime.fromisoformat(stated).replace(tzinfo=UTC) if _TIME.fullmatch(stated) else None
    except ValueError:
        found = None
    if found is None or not _EARLIEST <= found < _LATEST:
        raise MalformedResponse(f"the SAS has an end ({name}) that is no sane time")
    return found
