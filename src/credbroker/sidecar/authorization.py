"""Where a caller's token stands in its ``Authorization`` header. Nothing is compared here; garbage is no token.

What is found is visible ASCII: a constant-time comparison of anything else raises.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import unquote_plus

from credbroker.wire.visible import VISIBLE


def visible(text: str | None) -> str | None:
    """The text where it can be a token at all."""
    return text if text is not None and VISIBLE.fullmatch(text) else None


def bearer(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    """The token after ``Bearer`` (RFC 6750 section 2.1)."""
    return visible(_after("bearer", headers))


def bare_or_bearer(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    """The token after ``Bearer``, or the whole header: AWS's clients send the content of their token file as it is."""
    after = _after("bearer", headers)
    return visible(headers.get("authorization") if after is None else after)


def basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password (RFC 7617 section 2), both form-decoded as RFC 6749 section 2.3.1 has it.

    PyIceberg, DuckDB and Java's Iceberg send them raw. That reads the same, as neither the name of a binding nor its token
    has a character that the decoding would change.
    """
    given = _after("basic", headers)
    try:
        user, colon, password = base64.b64decode(given or "", validate=True).decode().partition(":")
    except ValueError:
        return None
    return (unquote_plus(user), unquote_plus(password)) if colon else None


def _after(scheme: str, headers: Mapping[str, str]) -> str | None:
    """What follows the scheme; None where the header is absent or of another scheme (in any case: RFC 9110, 11.1)."""
    stated, blank, rest = headers.get("authorization", "").partition(" ")
    return rest.strip(" ") if blank and stated.lower() == scheme else None
