"""The user-delegation SAS that opens one directory of an ADLS account: what it says, and its signature.

What is signed says all that a SAS opens (Microsoft, "Create a user delegation SAS"), and the service rebuilds it from each
request, with the first ``sdd`` names of the requested path: a changed depth, path, letter or time no longer fits the
signature. A directory SAS needs a hierarchical namespace. An account without one refuses it, or (service version 2026-06-06)
takes the directory for a virtual one: neither opens more. Two published faults shape this file: a path signed in its
percent-encoded form (Lakekeeper), and an expiry told to clients that was not the signed one (apache/polaris#4751).

To fetch a delegation key, and to sign with it, is the provider's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError, InsufficientLifetime
from credbroker.location import Location, outermost
from credbroker.request import Access

if TYPE_CHECKING:
    from pydantic import SecretStr

SERVICE_VERSION = "2020-12-06"
"""The version that every SAS is signed by, whatever the account's newest is.

The list of signed fields hangs on it: it last grew at 2020-12-06, and grows again at 2025-07-05 and later. The oldest of
that span is known to every cloud that knows the list.
"""

DEEPEST_DIRECTORY = 61
"""Names in a directory's path: a hierarchical account takes 63, its host and the container among them (Microsoft, "Naming
and referencing containers, blobs, and metadata")."""

# In the order that the service demands ("Specify permissions": racwdxyltmeopi). No "a": only append blobs need it. No "m": a
# table format never renames. No "o", "p", "e": each can set owners or ACLs, "e" where the key's identity owns the file.
_PERMISSIONS = {Access.READ: "rl", Access.WRITE: "cwdl", Access.READ_WRITE: "rcwdl"}

# Version 2020-12-06 of the string to sign. "sdd" is not in it: the resource, of which it is the depth, is.
_RESOURCE = "canonicalizedResource"
_SIGNED = (
    *("sp", "st", "se", _RESOURCE, "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "sip", "spr"),
    *("sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct"),
)


def sas_fields(locations: Iterable[Location], access: Access, *, allow_container_scope: bool = False) -> dict[str, object]:
    """What a SAS for ``access`` below ``locations`` says that it opens: its fields without times, key and signature.

    ``canonicalizedResource`` is signed and not sent. A container's root is ``sr=c``, all else a directory (``sr=d``) of
    depth ``sdd``. Raises ``ConfigurationError`` as ``granted`` does, and for a directory deeper than an account can hold.
    """
    opened = granted(locations, allow_container_scope=allow_container_scope)
    container, _, host = opened.bucket.partition("@")
    account = host.partition(".")[0]
    depth = len(opened.segments)
    if depth > DEEPEST_DIRECTORY:
        raise ConfigurationError(
            f"{opened} is {depth} directories deep: a hierarchical account holds no more than {DEEPEST_DIRECTORY}"
        )
    resource = f"/blob/{account}/{container}"
    scope = {"sr": "d", "sdd": depth} if depth else {"sr": "c"}
    return {
        "sv": SERVICE_VERSION,
        **scope,
        "sp": _PERMISSIONS[access],
        "spr": "https",
        # The path as it is, not percent-encoded: the service decodes a request's path before it compares.
        _RESOURCE: f"{resource}/{opened.key}" if depth else resource,
    }


def granted(locations: Iterable[Location], *, allow_container_scope: bool = False) -> Location:
    """The one location that a SAS for ``locations`` opens: the directory itself, never a parent that several share.

    With ``allow_container_scope`` (the profile's word for an account without a hierarchical namespace) it is the root of
    their container. Raises ``ConfigurationError`` that names the locations and the rule, where one SAS cannot open them.
    """
    asked = tuple(locations)
    for location in asked:
        if location.scheme != "abfss":
            raise ConfigurationError(f"{location} is not on ADLS: a SAS cannot open it")
    opened = outermost(Location("abfss", one.bucket, "") if allow_container_scope else one for one in asked)
    if not opened:
        raise ConfigurationError("a SAS for no location is refused: a grant of nothing is not issued")
    if len(opened) > 1:
        named = ", ".join(str(location) for location in asked)
        unit = "container" if allow_container_scope else "directory"
        raise ConfigurationError(
            f"one SAS opens one {unit}, and these are {len(opened)}: ask for one location each ({named})"
        )
    return opened[0]


def sign(fields: Mapping[str, object], key: DelegationKey, expires_at: datetime) -> SecretStr:
    """The SAS of ``sas_fields`` until ``expires_at``, as a query string without ``?``.

    ``expires_at`` is a whole second: what is signed is then the very instant that the caller tells its clients. It has no
    start (``st``): the service takes its own clock, so that a clock of ours that runs ahead refuses nobody. Raises
    ``ConfigurationError`` for a naive or broken instant, ``InsufficientLifetime`` for one beyond the key's expiry, after
    which the service refuses the SAS whatever it says.
    """
    from pydantic import SecretStr

    if expires_at.tzinfo is None or expires_at.microsecond:
        raise ConfigurationError("a SAS ends at an aware whole second: expires_at.replace(microsecond=0)")
    if expires_at > key.expiry:
        raise InsufficientLifetime(
            f"a SAS until {_instant(expires_at)} is asked of a user delegation key that ends at {_instant(key.expiry)}"
        )
    said = {name: str(value) for name, value in fields.items()}
    said |= {"se": _instant(expires_at), "skoid": key.oid, "sktid": key.tid}
    said |= {"skt": _instant(key.start), "ske": _instant(key.expiry), "sks": key.service, "skv": key.version}
    lines = [said.get(name, "") for name in _SIGNED]
    if any("\n" in line for line in lines):
        raise ConfigurationError("a SAS with a line break in a field is refused: what follows it would be the next field")
    secret = base64.b64decode(key.value.get_secret_value())
    said["sig"] = base64.b64encode(hmac.digest(secret, "\n".join(lines).encode(), hashlib.sha256)).decode()
    return SecretStr("&".join(f"{name}={quote(value, safe='')}" for name, value in said.items() if name != _RESOURCE))


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
