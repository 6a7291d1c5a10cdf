"""The IAM session policy that narrows an assumed role to exactly the asked prefixes.

What a session may do is the role's rights AND this policy (AWS IAM user guide, "Session policies"); a call without a policy
gets the whole role, so there is no way here to end up with none. Three published attacks shape this file: a ``*`` in a name
became a wildcard (apache/polaris CVE-2026-42810), a prefix without its slash covered its siblings (polaris#4884), and a
list condition without one let siblings be enumerated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from credbroker.errors import ConfigurationError
from credbroker.location import Location, outermost
from credbroker.request import Access

LONGEST_POLICY = 2048
"""Characters of a session policy (AWS STS API reference, AssumeRole, ``Policy``)."""

PARTITIONS = ("aws", "aws-cn", "aws-us-gov")

_READ = ("s3:GetObject", "s3:GetObjectVersion")
# No s3:ListBucketMultipartUploads: it knows no s3:prefix condition and would show the keys of the whole bucket.
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_KMS_KEY = re.compile(r"arn:([a-z-]+):kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
_WILDCARD = re.compile(r"[$*?]")


def session_policy(
    locations: Iterable[Location],
    access: Access,
    *,
    partition: str = "aws",
    kms_keys: tuple[str, ...] = (),
    escapes: bool = True,
) -> dict[str, object]:
    """The policy that allows ``access`` below each of ``locations`` and nothing else, as data.

    ``escapes`` says whether the store knows IAM's ``${*}``; without it a location with ``$``, ``*`` or ``?`` is refused.
    A bucket's root is taken as it is asked: whether it may be asked is decided by containment before. Raises
    ``ConfigurationError`` for no location at all, one that is not on S3, or one that a policy cannot express.
    """
    asked = outermost(locations)
    if not asked:
        raise ConfigurationError("a session policy for no location is refused: a grant of nothing is not issued")
    if partition not in PARTITIONS:
        raise ConfigurationError(f"unknown AWS partition {partition!r}: use one of {', '.join(PARTITIONS)}")
    prefixes = {location: _escaped(location, escapes=escapes) for location in asked}
    arn = f"arn:{partition}:s3:::"

    actions = (_READ if access.covers(Access.READ) else ()) + (_WRITE if access.covers(Access.WRITE) else ())
    objects = [f"{arn}{location.bucket}/{prefix}*" for location, prefix in prefixes.items()]
    buckets = list(dict.fromkeys(location.bucket for location in asked))
    statements = [_allow(actions, objects)]
    # One statement a bucket: merged ones would pair each bucket with every other bucket's prefixes.
    for bucket in buckets:
        below = [prefix for location, prefix in prefixes.items() if location.bucket == bucket]
        statement = _allow(("s3:ListBucket",), [f"{arn}{bucket}"])
        if below != [""]:
            statement["Condition"] = {"StringLike": {"s3:prefix": _one_or_many([f"{prefix}*" for prefix in below])}}
        statements.append(statement)
    statements.append(_allow(("s3:GetBucketLocation",), [f"{arn}{bucket}" for bucket in buckets]))
    if kms_keys:
        statements.append(_key_use(kms_keys, access, partition))
    # Without this version "${*}" is literal text to IAM and its "*" a wildcard again: the escape would be the hole.
    return {"Version": "2012-10-17", "Statement": statements}


def compact(policy: Mapping[str, object], locations: Iterable[Location]) -> str:
    """The policy as the shortest JSON text, within what STS takes.

    Raises ``ConfigurationError`` that names the size, the limit and the locations: nothing is ever left out to make it fit.
    """
    text = json.dumps(policy, separators=(",", ":"), ensure_ascii=False)
    if len(text) > LONGEST_POLICY:
        named = ", ".join(str(location) for location in locations)
        raise ConfigurationError(
            f"the session policy has {len(text)} characters, and STS takes {LONGEST_POLICY}: ask for fewer or shorter "
            f"locations, or for a prefix that they share ({named})"
        )
    return text


def _escaped(location: Location, *, escapes: bool) -> str:
    """The location's prefix, with its slash, as literal text in a pattern of IAM."""
    if location.scheme != "s3":
        raise ConfigurationError(f"{location} is not on S3: an IAM session policy cannot express it")
    prefix = location.prefix
    for character in prefix:
        if ord(character) > 0xFF:  # the character set of the Policy parameter, AWS STS API reference
            raise ConfigurationError(f"{location} has U+{ord(character):04X}: STS takes nothing above U+00FF in a policy")
    if not escapes and _WILDCARD.search(prefix):
        raise ConfigurationError(
            f"{location} has '$', '*' or '?', which this store cannot tell from wildcards "
            "(policy_escapes: true, if it knows '${*}')"
        )
    # In one pass: escaping them one after the other would escape the "$" of an escape.
    return _WILDCARD.sub(lambda found: f"${{{found.group()}}}", prefix)


def _key_use(kms_keys: tuple[str, ...], access: Access, partition: str) -> dict[str, object]:
    for key in kms_keys:
        found = _KMS_KEY.fullmatch(key)
        if found is None or found.group(1) != partition:
            raise ConfigurationError(
                f"kms_keys: {key!r} is not a key's ARN in the role's partition (arn:{partition}:kms:REGION:ACCOUNT:key/ID)"
            )
    # A multipart upload decrypts its own parts (Amazon S3 user guide, "Protecting data with KMS"), so writing needs both.
    actions = ("kms:Decrypt", "kms:GenerateDataKey") if access.covers(Access.WRITE) else ("kms:Decrypt",)
    statement = _allow(actions, list(kms_keys))
    statement["Condition"] = {"StringLike": {"kms:ViaService": "s3.*"}}  # by way of S3 only, never directly
    return statement


def _allow(actions: tuple[str, ...], resources: list[str]) -> dict[str, object]:
    return {"Effect": "Allow", "Action": _one_or_many(list(actions)), "Resource": _one_or_many(resources)}


def _one_or_many(texts: list[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else texts
