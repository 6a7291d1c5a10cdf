"""The seam of the secret backends: each looks in one place, and says where it looked."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from credbroker.context import Context, Lease
from credbroker.secrets.reference import SecretReference


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a backend found: the secret, or None and why. ``place`` tells a human where it looked.

    ``there``: something stands in the secret's place that cannot be read as one. It is not passed over: otherwise whoever
    can spoil it would have the secret of a later place used in its stead.
    """

    place: str
    secret: SecretStr | None = None
    reason: str | None = None
    there: bool = False

    def __str__(self) -> str:
        return self.place if self.reason is None else f"{self.place} ({self.reason})"


class Backend(Protocol):
    """One place where secrets are kept. It is asked at each issue, and remembers no secret."""

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """Look for the secret, by what ``context`` reaches (it has no profile), within ``context.remaining()`` seconds.

        A secret that is not there is a ``Lookup`` without one: the next backend is asked. A place that cannot tell raises,
        so that no secret of a later place is taken for it: ``IssuerUnavailable``, ``IssueDenied``, ``MalformedResponse``, or
        ``ConfigurationError`` where it cannot be used at all.
        """


@runtime_checkable
class Lessor(Backend, Protocol):
    """A backend that gives leases too."""

    def lease(self, reference: SecretReference, context: Context) -> Lease | Lookup:
        """A new lease; where this place has nothing of that name, where it looked. Raises as ``look`` does."""

    def revoke(self, lease: str, context: Context) -> bool:
        """End the lease of that name; False where it is another place's. Raises as ``look`` does."""


def lookup(place: str, text: str, field: str | None) -> Lookup:
    """The result for the text that stands at ``place``; ``field`` picks a member of the JSON object that it must be then.

    Any other text has no fields: taken whole, it would be both the id and the secret of a client that names two of them.
    """
    text = stripped(text)
    if not text:
        return Lookup(place, reason="it is empty")
    if field is None:
        return Lookup(place, SecretStr(text))
    members = _members(text)
    if members is None:
        return Lookup(place, reason=f"it is no JSON object, of which 'field: {field}' could pick")
    value = members.get(field)
    # A lone surrogate ("\\ud800" in JSON) is no text that a request could carry.
    if not isinstance(value, str) or not value or any("\ud800" <= one <= "\udfff" for one in value):
        return Lookup(place, reason=f"its JSON has no text under {field!r}")
    return Lookup(place, SecretStr(value))


# What several fields are one secret: those that must be there, and those that may.
_TOGETHER = (
    (frozenset({"access_key_id", "secret_access_key"}), frozenset({"session_token"})),
    (frozenset({"username", "password"}), frozenset[str]()),
    (frozenset({"username", "private_key"}), frozenset[str]()),
)


def belong_together(fields: Collection[str]) -> frozenset[str] | None:
    """Of fields that are one secret together (a key pair, a login) those that it needs; None where they are several."""
    for needed, further in _TOGETHER:
        if needed <= set(fields) <= needed | further:
            return needed
    return None


def stripped(text: str) -> str:
    """Without the one line end that editors and ``echo`` add; further ones may belong to the secret."""
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")


def _members(text: str) -> dict[str, object] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
