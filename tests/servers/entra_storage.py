"""A storage account's blob service, as far as it gives user delegation keys; each request is checked.

https://learn.microsoft.com/en-us/rest/api/storageservices/get-user-delegation-key
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from azure.storage.blob import UserDelegationKey

from tests.servers.strict import Answer, Asked, StrictServer, exactly

_INFO = re.compile(
    r'<\?xml version="1\.0" encoding="utf-8"\?>'
    r"<KeyInfo><Start>([0-9TZ:-]{20})</Start><Expiry>([0-9TZ:-]{20})</Expiry></KeyInfo>"
)
_LONGEST = timedelta(days=7)


class BlobService(StrictServer):
    """Gives each asked key anew, to whoever's token ``accepts`` takes."""

    oid, tid = "11059fcc-5514-4800-b5f8-49808b9cfab6", "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42"

    def __init__(self, accepts: Callable[[str], bool] = lambda _: True) -> None:
        super().__init__()
        self.accepts = accepts
        self.may_delegate = True
        self.keys: list[UserDelegationKey] = []

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        assert asked.url.path == "/"
        exactly(asked.query, restype="service", comp="userdelegationkey")
        assert asked.headers["x-ms-version"] >= "2018-11-09"
        assert asked.headers["content-type"].startswith("application/xml")
        info = _INFO.fullmatch(asked.body.decode())
        assert info is not None, "no KeyInfo"
        start, expiry = (datetime.fromisoformat(text) for text in info.groups())
        now = datetime.now(UTC)
        assert start < expiry <= start + _LONGEST
        assert abs(start - now) < _LONGEST
        assert now < expiry < now + _LONGEST
        kind, _, token = asked.headers["authorization"].partition(" ")
        assert kind == "Bearer"
        if not self.accepts(token):
            return error(401, "InvalidAuthenticationInfo")
        if not self.may_delegate:
            return error(403, "AuthorizationPermissionMismatch")
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid = self.oid, self.tid
        key.signed_start, key.signed_expiry = info.groups()
        key.signed_service, key.signed_version = "b", asked.headers["x-ms-version"]
        key.value = b64encode(secrets.token_bytes(32)).decode()
        self.keys.append(key)
        fields = {
            "SignedOid": key.signed_oid,
            "SignedTid": key.signed_tid,
            "SignedStart": key.signed_start,
            "SignedExpiry": key.signed_expiry,
            "SignedService": key.signed_service,
            "SignedVersion": key.signed_version,
            "Value": key.value,
        }
        return document(**fields)


def document(**fields: str) -> Answer:
    """The answer with these fields."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><UserDelegationKey>{inner}</UserDelegationKey>'
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def error(status: int, code: str) -> Answer:
    """https://learn.microsoft.com/en-us/rest/api/storageservices/status-and-error-codes2."""
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>canary</Message></Error>'
    return Answer(status, body.encode(), {"Content-Type": "application/xml", "x-ms-error-code": code})
