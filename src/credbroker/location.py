"""Location: one canonical parse of ``s3://``, ``gs://`` and ``abfss://``, and containment on segments.

The same parse serves the policy that is asked for, the key that a value is held under, and every containment check, so that
no two of them can read one text differently (apache/polaris CVE-2026-42810, lakekeeper#1740 were such differences).
The key is kept raw, exactly as it was written: nothing is decoded, but what decoding would turn into another path is
refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from credbroker.errors import ConfigurationError

_SCHEMES = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gs", "abfss": "abfss", "abfs": "abfss"}
# Amazon S3 user guide, "General purpose bucket naming rules"; Google's are the same within what is used here, plus "_".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_GCS_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# Azure, "Naming and referencing containers, blobs, and metadata"; "$root", "$web" and "$logs" are no data lake's.
_CONTAINER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# "Storage account overview": account.dfs.<suffix>, or account.zNN.dfs.<suffix> for an account with a DNS zone endpoint.
_ADLS_HOST = re.compile(r"[a-z0-9]{3,24}(?:\.z[0-9]{2})?\.dfs(?:\.[a-z0-9][a-z0-9-]{0,62})+\.[a-z]{2,63}")
# Controls, lone surrogates, and the two line breaks that are no controls (U+2028, U+2029): each could forge a line of a log.
_UNFIT = ("Cc", "Cs", "Zl", "Zp")
# The controls of direction (Unicode Standard Annex 9): with one in it, a record or a policy shows another location than it
# names (CVE-2021-42574).
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST_KEY = 1024  # bytes of UTF-8, both S3 and GCS


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket (or container) and the raw key of a prefix or object in it, without a trailing slash."""

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str | Location) -> Location:
        """Parse a URI such as ``s3://lake/sales/``; ``s3a://`` and ``s3n://`` read as ``s3://``.

        Raises ``ConfigurationError`` that names the location and the rule it broke.
        """
        if isinstance(text, Location):
            return cls.parse(str(text))  # made by hand, it may hold what no text gets past
        if not isinstance(text, str):
            raise ConfigurationError(f"a location is a text such as 's3://bucket/prefix/', not {type(text).__name__}")
        _refuse_characters(text)
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() not in _SCHEMES:
            raise _refused(text, "it must begin with s3://, gs:// or abfss://")
        if "?" in text or "#" in text:
            raise _refused(text, "it has a query or fragment ('?' or '#')")
        canonical = _SCHEMES[scheme.lower()]
        bucket, _, key = rest.partition("/")
        _check_bucket(text, canonical, bucket)
        return cls(canonical, bucket, _checked_key(text, canonical, key))

    @property
    def segments(self) -> tuple[str, ...]:
        """The path below the bucket, segment by segment; empty for the bucket's root."""
        return tuple(self.key.split("/")) if self.key else ()

    @property
    def prefix(self) -> str:
        """The key with the slash that keeps ``sales`` from covering ``sales2``; empty for the bucket's root."""
        return f"{self.key}/" if self.key else ""

    def contains(self, other: Location) -> bool:
        """Whether ``other`` is this location or lies below it, compared segment by segment."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        mine = self.segments
        return other.segments[: len(mine)] == mine

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"


def covering(locations: tuple[Location, ...], wanted: Location) -> Location | None:
    """The longest of ``locations`` that contains ``wanted``: containment first, length second (iceberg#17003)."""
    holding = [location for location in locations if location.contains(wanted)]
    return max(holding, key=lambda location: len(location.segments), default=None)


def outermost(locations: Iterable[Location]) -> tuple[Location, ...]:
    """The locations without repeats and without those that lie in another of them: the same grant, said in less."""
    distinct = tuple(dict.fromkeys(locations))
    return tuple(
        location for location in distinct if not any(other != location and other.contains(location) for other in distinct)
    )


def _refused(text: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"the location {text!r} is refused: {rule}")


def _refuse_characters(text: str) -> None:
    for character in text:
        if _is_unfit(character):
            raise _refused(text, f"it has a control character, line break or lone surrogate (U+{ord(character):04X})")


def _is_unfit(character: str) -> bool:
    return unicodedata.category(character) in _UNFIT or character in _REORDERING


def _check_bucket(text: str, scheme: str, bucket: str) -> None:
    if scheme == "abfss":
        container, _, host = bucket.partition("@")
        if not host:
            raise _refused(text, "it must name container@account.dfs.core.windows.net")
        if not (3 <= len(container) <= 63 and _CONTAINER.fullmatch(container)):
            raise _refused(text, "the container's name breaks the naming rules (3 to 63 of a-z, 0-9 and single '-')")
        if not _ADLS_HOST.fullmatch(host):
            raise _refused(text, "the host is not account.dfs.core.windows.net or the like: lower case, no port, no address")
        return
    if "@" in bucket or ":" in bucket:
        raise _refused(text, "the bucket has userinfo or a port ('@' or ':')")
    pattern, rule = (_BUCKET, "3 to 63 of a-z, 0-9, '.', '-'")
    if scheme == "gs":
        pattern, rule = (_GCS_BUCKET, "3 to 222 of a-z, 0-9, '.', '-', '_'")
    if not pattern.fullmatch(bucket) or ".." in bucket:
        raise _refused(text, f"the bucket's name breaks the naming rules ({rule})")


def _checked_key(text: str, scheme: str, key: str) -> str:
    key = key.removesuffix("/")
    if len(key.encode()) > _LONGEST_KEY:
        raise _refused(text, f"its key is longer than {_LONGEST_KEY} bytes")
    if not key:
        return key
    from urllib.parse import unquote

    for segment in key.split("/"):
        form = segment
        while True:
            _refuse_segment(text, scheme, form, decoded=form != segment)
            # Decoded to the end: one layer more may be decoded by a proxy or by the store (lakekeeper#1740).
            decoded = unquote(form, errors="surrogateescape")
            if decoded == form:
                break
            form = decoded
    return key


def _refuse_segment(text: str, scheme: str, form: str, *, decoded: bool) -> None:
    if form.strip() in ("", ".", ".."):
        raise _refused(text, "it has a blank, '.' or '..' segment, plain or percent-encoded")
    if "/" in form or ("\\" in form and decoded):
        raise _refused(text, "it has a percent-encoded slash or backslash")
    if any(_is_unfit(character) for character in form):
        raise _refused(text, "it has a percent-encoded control character or line break")
    if scheme == "abfss" and "\\" in form:  # azure-sdk-for-python#48690: signed as one segment, read as two
        raise _refused(text, "it has a backslash, which Azure reads as a slash")
    if scheme == "abfss" and form.endswith("."):  # azure-storage-ruby#191: signed with the dot, read without
        raise _refused(text, "it has a segment that ends with '.', which Azure drops")
