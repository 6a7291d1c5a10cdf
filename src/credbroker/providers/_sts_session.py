"""What a session of a role is called, and what is written into it: its name, its source identity and its tags.

AWS STS API reference, AssumeRole: ``RoleSessionName``, ``SourceIdentity``, ``Tags``, ``TransitiveTagKeys``; the rules for
tags are in the IAM user guide, "Pass session tags in AWS STS".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata

from credbroker.profile import CredentialSettings, Profile
from credbroker.providers.requirements import misconfigured

_NOT_IN_SESSION_NAME = re.compile(r"[^A-Za-z0-9_+=,.@-]+")
_SOURCE_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_IN_TAGS = "_.:/=+-@"
_MOST_TAGS, _LONGEST_KEY, _LONGEST_VALUE = 50, 128, 256
_RESERVED = "aws:"


def session_name(principal: str | None, actor: str | None, run_id: str | None = None) -> str:
    """A ``RoleSessionName`` (2 to 64 of ``[A-Za-z0-9_+=,.@-]``) that CloudTrail shows.

    It ends in 120 bits of a hash over the names: cleaning and cutting alone would give two of them one session name.
    """
    names = [principal, actor] if run_id is None else [principal, actor, run_id]
    if not any(name is not None for name in names):
        return "credbroker"
    suffix = _hashed(json.dumps(names))
    readable = _NOT_IN_SESSION_NAME.sub("-", "-".join(name for name in names if name))
    return f"{readable[: 63 - len(suffix)]}-{suffix}"


def tag_value(text: str) -> str:
    """``text`` as the value of a session tag (256 of letters, digits, blanks and ``_.:/=+-@``).

    What is not one already is cleaned, cut, and ends in a hash of the whole, so that two values never become one.
    """
    if len(text) <= _LONGEST_VALUE and all(_fit(character) for character in text):
        return text
    suffix = _hashed(text)
    readable = "".join(character if _fit(character) else "-" for character in text)
    return f"{readable[: _LONGEST_VALUE - 1 - len(suffix)]}-{suffix}"


def written_into(profile: Profile, block: CredentialSettings) -> dict[str, object]:
    """The parameters of AssumeRole for what the profile writes into a session.

    Raises ``ConfigurationError`` for what STS would refuse: a trust policy compares these, so none of them is mended but
    the value of a tag.
    """
    parameters: dict[str, object] = {}
    if block.source_identity is not None:
        if not _SOURCE_IDENTITY.fullmatch(block.source_identity):
            raise misconfigured(profile, "credentials.source_identity", "must be 2 to 64 of letters, digits and _+=,.@-")
        parameters["SourceIdentity"] = block.source_identity
    if block.session_tags:
        _check_tags(profile, tuple(block.session_tags))
        parameters["Tags"] = [{"Key": key, "Value": tag_value(value)} for key, value in block.session_tags.items()]
    if block.transitive_tag_keys:
        absent = [key for key in block.transitive_tag_keys if key not in block.session_tags]
        if absent:
            fault = f"names {absent[0]!r}, which is no key of credentials.session_tags"
            raise misconfigured(profile, "credentials.transitive_tag_keys", fault)
        parameters["TransitiveTagKeys"] = list(block.transitive_tag_keys)
    return parameters


def _check_tags(profile: Profile, keys: tuple[str, ...]) -> None:
    field = "credentials.session_tags"
    if len(keys) > _MOST_TAGS:
        raise misconfigured(profile, field, f"has {len(keys)} tags, and STS takes {_MOST_TAGS}")
    for key in keys:
        if key.lower().startswith(_RESERVED):
            raise misconfigured(profile, field, f"has the key {key!r}: AWS keeps names with 'aws:' for itself")
        if not 1 <= len(key) <= _LONGEST_KEY or not all(_fit(character) for character in key):
            fault = f"has the key {key!r}: it must be 1 to {_LONGEST_KEY} of letters, digits, blanks and {_IN_TAGS}"
            raise misconfigured(profile, field, fault)
    if len({key.casefold() for key in keys}) < len(keys):
        raise misconfigured(profile, field, "has two keys that differ in case alone, which STS takes for one")


def _fit(character: str) -> bool:
    # The pattern of STS is [\p{L}\p{Z}\p{N}_.:/=+\-@]; a general category begins with that letter.
    return character in _IN_TAGS or unicodedata.category(character)[0] in "LZN"


def _hashed(text: str) -> str:
    """120 bits, in base32: 24 small letters and digits. Half a surrogate pair is hashed too."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:15]
    return base64.b32encode(digest).decode().lower()
