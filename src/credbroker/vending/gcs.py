"""The Credential Access Boundary that narrows a Google access token to exactly the asked prefixes.

What the narrowed token may do is the source identity's rights AND the boundary, whose rules add up (Google Cloud,
"Credential Access Boundaries overview", https://cloud.google.com/iam/docs/downscoping-short-lived-credentials). Each rule
has one bucket, a ceiling made of whole roles, and a condition in CEL. Two published attacks shape this file: a quote in a
name ended the CEL string, and the rest of the name became the condition (apache/polaris CVE-2026-42811, unitycatalog#1714);
a prefix without its slash covered its siblings (polaris#4884).

The roles are the least that Google has, and legacy ones for that reason ("IAM roles for Cloud Storage",
https://cloud.google.com/storage/docs/access-control/iam-roles):

- ``legacyObjectReader`` is ``storage.objects.get`` alone; ``objectViewer`` would add the listing.
- ``legacyBucketWriter`` creates, overwrites, restores and deletes objects and does multipart uploads; it gets no object,
  updates none and sets no policy. It may set a retention on them, where the bucket has that enabled. ``objectCreator`` could
  not overwrite or delete; ``objectUser`` and ``objectAdmin`` read, too.
- ``legacyBucketReader`` lists without ``storage.objects.get``, so that it serves a grant of writing as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from credbroker.errors import ConfigurationError
from credbroker.location import Location, outermost
from credbroker.request import Access

MOST_RULES = 10
"""Rules of one boundary (Google Security Token Service reference, AccessBoundary)."""

LONGEST_EXPRESSION = 2048
"""Characters of one rule's condition (the same page)."""

_READ = "inRole:roles/storage.legacyObjectReader"
_WRITE = "inRole:roles/storage.legacyBucketWriter"
_LIST = "inRole:roles/storage.legacyBucketReader"
_LIST_PREFIX = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')"
_UNSAFE = re.compile(r"""[^ -~]|['"`\\]""")


def access_boundary(locations: Iterable[Location], access: Access) -> dict[str, object]:
    """The boundary that allows ``access`` below each of ``locations`` and nothing else, as the data that STS takes as JSON.

    Each bucket has two rules: one for its objects, and one for its listing, whose role touches no object. A bucket's root is
    taken as it is asked, and means the whole bucket, its metadata to read included; whether it may be asked is decided by
    containment before. Raises ``ConfigurationError`` for no location at all, one that is not on Google Cloud Storage, and
    for more than a boundary holds: nothing is ever left out to make it fit.
    """
    asked = outermost(locations)
    if not asked:
        raise ConfigurationError("an access boundary for no location is refused: a grant of nothing is not issued")
    buckets: dict[str, list[Location]] = {}
    for location in asked:
        if location.scheme != "gs":
            raise ConfigurationError(f"{location} is not on Google Cloud Storage: an access boundary cannot express it")
        buckets.setdefault(location.bucket, []).append(location)

    roles = ([_READ] if access.covers(Access.READ) else []) + ([_WRITE] if access.covers(Access.WRITE) else [])
    rules: list[dict[str, object]] = []
    # Two rules a bucket: shared ones would pair each bucket with every other bucket's prefixes.
    for bucket, below in buckets.items():
        name = f"projects/_/buckets/{bucket}"
        objects = [f"resource.name.startsWith({_literal(f'{name}/objects/{each.prefix}')})" for each in below]
        rules.append(_rule(name, roles, objects, below))
        # A list call is about the bucket: what it is about to show is in this attribute, and '' where no prefix is given. To
        # any other call it is '' as well, so that a prefix keeps the role's other permissions shut.
        listing = [f"{_LIST_PREFIX}.startsWith({_literal(each.prefix)})" for each in below if each.prefix]
        rules.append(_rule(name, [_LIST], listing, below))
    if len(rules) > MOST_RULES:
        raise ConfigurationError(
            f"the access boundary has {len(rules)} rules, two for each bucket, and Google takes {MOST_RULES}: "
            f"ask for fewer buckets at a time ({_named(asked)})"
        )
    return {"accessBoundary": {"accessBoundaryRules": rules}}


def _rule(name: str, roles: list[str], alternatives: list[str], below: list[Location]) -> dict[str, object]:
    rule: dict[str, object] = {"availableResource": f"//storage.googleapis.com/{name}", "availablePermissions": roles}
    if alternatives:
        expression = " || ".join(alternatives)
        if len(expression) > LONGEST_EXPRESSION:
            raise ConfigurationError(
                f"a condition of the access boundary has {len(expression)} characters, and Google takes "
                f"{LONGEST_EXPRESSION}: ask for fewer or shorter locations, or for a prefix that they share "
                f"({_named(below)})"
            )
        rule["availabilityCondition"] = {"expression": expression}
    return rule


def _literal(text: str) -> str:
    r"""``text`` as a string literal of CEL (language definition, "String and Bytes Values").

    Quotes and the backslash are written as ``\u0027`` and so on, never as ``\'``: no quote stands inside a literal, so that
    it ends where it should for any reader, whatever that one makes of backslashes. So are all characters beyond printable
    ASCII: the expression then has as many characters as bytes, no coding or normalisation on its way can change a name, and
    what ``explain`` shows holds nothing invisible.
    """
    return f"'{_UNSAFE.sub(_escape, text)}'"


def _escape(found: re.Match[str]) -> str:
    point = ord(found.group())
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _named(locations: Iterable[Location]) -> str:
    return ", ".join(str(location) for location in locations)
