"""What a JWT says of itself (RFC 7519 section 4.1), read without verifying it.

It only says when *we* let go of a token, or that it is the wrong one; whether to believe it is for the server that it is
shown to. Nothing here raises, so that no traceback keeps a token.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn

_LATEST = 253_402_300_799  # the last second of the year 9999, past which a datetime cannot tell


def unverified_claims(token: str) -> dict[str, object] | None:
    """The claims of a signed JWT (three parts, the second a JSON object in base64url); None for anything else."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        return None
    try:
        payload = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        claims: object = json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def instant(claims: Mapping[str, object], name: str) -> datetime | None:
    """A claim that is a NumericDate (RFC 7519 section 2), as an aware UTC datetime; None where there is none."""
    stated = claims.get(name)
    # A bool is an int to Python, and no number here.
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return None
    if not (0 <= stated <= _LATEST):  # NaN compares false
        return None
    return datetime.fromtimestamp(math.floor(stated), UTC)


def audiences(claims: Mapping[str, object]) -> tuple[str, ...]:
    """Whom the token is for: ``aud`` is one text or a list of them (RFC 7519 section 4.1.3)."""
    stated = claims.get("aud")
    listed = stated if isinstance(stated, list) else [stated]
    return tuple(one for one in listed if isinstance(one, str))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's
