"""A judge of user-delegation SAS that stands in for Azure Storage, and Microsoft's own signer beside it.

The judge is written from Microsoft's pages and not from the code that it judges: "Create a user delegation SAS" (fields,
letters, the string to sign of version 2020-12-06) and "Naming and referencing containers, blobs, and metadata". Like the
service it takes nothing from the SAS on trust: it rebuilds the signed resource from the path that is requested. The signer
is ``azure-storage-blob`` and ``azure-storage-file-datalake``, as they were before version 2025-07-05 signed more fields.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from unittest import mock
from urllib.parse import parse_qsl

from azure.storage.blob import UserDelegationKey, _shared_access_signature, generate_container_sas
from azure.storage.filedatalake import generate_directory_sas

# "Permissions for a directory, container, or blob": each operation, and the letters of which one must be there.
NEEDS = {
    "read": "r",
    "properties": "r",
    "list": "l",
    "create": "cw",
    "overwrite": "w",
    "append": "aw",
    "delete": "d",
    "delete version": "x",
    "delete for good": "y",
    "tags": "t",
    "find": "f",
    "move": "m",
    "status and ACL": "e",
    "set owner": "o",
    "set ACL": "p",
    "immutability": "i",
}
READING = {"read", "properties", "list"}
WRITING = {"create", "overwrite", "append", "delete", "list"}

_ORDER = "racwdxyltfmeopi"
_KNOWN = {
    *("sv", "sr", "sdd", "sp", "spr", "st", "se", "sip", "ses", "sig"),
    *("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid"),
    *("rscc", "rscd", "rsce", "rscl", "rsct"),
}


@dataclass(frozen=True)
class Request:
    """What a client asks of the service; ``path`` is decoded, and below the container."""

    operation: str
    account: str
    container: str
    path: str
    now: datetime
    scheme: str = "https"
    hierarchical: bool = True


def parse(sas: str) -> dict[str, str]:
    """The fields of a query string, each of them known and there once."""
    pairs = parse_qsl(sas, keep_blank_values=True, strict_parsing=True, max_num_fields=50)
    fields = dict(pairs)
    assert len(fields) == len(pairs), "a field is there twice"
    assert set(fields) <= _KNOWN, f"fields that no SAS has: {set(fields) - _KNOWN}"
    return fields


def reading(path: str) -> list[str]:
    """The names of a path as the service reads them: a backslash is a slash, dots at the end of a name are dropped."""
    names = [name.rstrip(".") for name in path.replace("\\", "/").split("/")]
    return [name for name in names if name]


def allows(sas: str, request: Request, key: UserDelegationKey) -> bool:
    """Whether the service does what is requested, for one who has nothing but this SAS."""
    fields = parse(sas)
    resource = _resource(fields, request)
    return (
        resource is not None
        and hmac.compare_digest(fields["sig"], _signature(fields, resource, key))
        and fields["sv"] == "2020-12-06"
        and request.scheme in fields.get("spr", "https,http").split(",")
        and _instant(fields.get("st", fields["skt"])) <= request.now < _instant(fields["se"])
        and _instant(fields["skt"]) <= request.now < _instant(fields["ske"])
        and fields["sp"] == "".join(letter for letter in _ORDER if letter in fields["sp"])
        and any(letter in fields["sp"] for letter in NEEDS[request.operation])
    )


def _resource(fields: dict[str, str], request: Request) -> str | None:
    container = f"/blob/{request.account}/{request.container}"
    names = reading(request.path)
    if fields["sr"] == "c":
        return container
    if fields["sr"] == "b":
        return "/".join([container, *names])
    if fields["sr"] != "d" or not request.hierarchical or not fields.get("sdd", "").isdecimal():
        return None
    depth = int(fields["sdd"])
    return "/".join([container, *names[:depth]]) if depth <= len(names) else None


def _signature(fields: dict[str, str], resource: str, key: UserDelegationKey) -> str:
    def said(name: str) -> str:
        return fields.get(name, "") + "\n"

    text = said("sp") + said("st") + said("se") + resource + "\n"
    text += said("skoid") + said("sktid") + said("skt") + said("ske") + said("sks") + said("skv")
    text += said("saoid") + said("suoid") + said("scid")
    text += said("sip") + said("spr") + said("sv") + said("sr")
    text += "\n"  # signedSnapshotTime: never in these
    text += said("ses") + said("rscc") + said("rscd") + said("rsce") + said("rscl") + fields.get("rsct", "")
    digest = hmac.new(base64.b64decode(key.value or ""), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def microsofts(
    account: str, container: str, directory: str, *, permissions: str, key: UserDelegationKey, expires_at: datetime
) -> dict[str, str]:
    """The fields that Microsoft's SDK signs for a directory, or for the container where that is empty."""
    with mock.patch.object(_shared_access_signature, "X_MS_VERSION", "2020-12-06"):
        if directory:
            sas = generate_directory_sas(
                account, container, directory, key, permission=permissions, expiry=expires_at, protocol="https"
            )
        else:
            sas = generate_container_sas(
                account, container, user_delegation_key=key, permission=permissions, expiry=expires_at, protocol="https"
            )
    return parse(sas)
