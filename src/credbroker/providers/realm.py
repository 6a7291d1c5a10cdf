"""The realm of a Polaris catalog: which of the tenants on one host is meant.

Polaris reads it from the header ``Polaris-Realm`` (its ``polaris.realm-context.header-name``) of token requests and of
catalog requests alike; a token of one realm is worth nothing in another.
"""

from __future__ import annotations

import re

from credbroker.profile import Profile
from credbroker.providers.requirements import misconfigured

_HEADER = "Polaris-Realm"
# RFC 9110 section 5.5, less what is beyond ASCII: no line break, which would begin another header, and no blank at an end.
_VALUE = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")


def realm_header(profile: Profile) -> dict[str, str]:
    """The header to send, none where there is no realm. Raises ``ConfigurationError`` for what no header carries."""
    realm = profile.credentials.realm if profile.credentials is not None else None
    if not realm:
        return {}
    if not _VALUE.fullmatch(realm):
        raise misconfigured(profile, "credentials.realm", "is no value of a header: at most 256 characters of visible ASCII")
    return {_HEADER: realm}
