"""What a sidecar's ``/status`` told, read strictly: it is about to be shown to an operator who acts upon it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from credbroker.errors import MalformedResponse

LARGEST = 1024 * 1024
"""Bytes of the answer: that of some thousand bindings."""
_READY = frozenset({"fresh", "stale"})


@dataclass(frozen=True, slots=True)
class BindingStatus:
    """One binding. Instants are ISO 8601 in UTC, as they were told; times are seconds."""

    name: str
    profile: str
    state: str
    """``fresh``, ``stale``, ``expired`` or ``absent``."""
    life: float | None
    """The whole time for which the value is handed out; None: it has no end, or there is none."""
    left: float | None
    expires_at: str | None
    issues_last_hour: int
    answers: int
    failures: int
    """Issues that failed since the last that did not."""
    error: str | None
    error_at: str | None

    @property
    def ready(self) -> bool:
        """Whether a value is held that may be handed out."""
        return self.state in _READY


@dataclass(frozen=True, slots=True)
class Status:
    """A sidecar and its bindings. ``document`` is what it told, as it stands."""

    bindings: tuple[BindingStatus, ...]
    draining: bool
    fault: str | None
    """Why the last change of the platform file was refused."""
    document: Mapping[str, object]

    @property
    def ready(self) -> bool:
        """Whether each binding is, and the sidecar is not about to end."""
        return not self.draining and all(binding.ready for binding in self.bindings)


def parsed(body: bytes) -> Status:
    """The status. Raises ``MalformedResponse``, which shows nothing of the body."""
    try:
        document = json.loads(body)
        return Status(
            bindings=tuple(_binding(one) for one in _list(document["bindings"])),
            draining=document["draining"] is True,
            fault=_optional(document["config"]["fault"]),
            document=document,
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise MalformedResponse("the sidecar's status cannot be read: start it again, of this release of credbroker")


def _binding(told: Mapping[str, object]) -> BindingStatus:
    return BindingStatus(
        name=_text(told["name"]),
        profile=_text(told["profile"]),
        state=_text(told["state"]),
        life=_seconds(told["life"]),
        left=_seconds(told["left"]),
        expires_at=_optional(told["expires_at"]),
        issues_last_hour=_count(told["issues_last_hour"]),
        answers=_count(told["answers"]),
        failures=_count(told["failures"]),
        error=_optional(told["error"]),
        error_at=_optional(told["error_at"]),
    )


def _list(told: object) -> list[Mapping[str, object]]:
    if not isinstance(told, list):
        raise TypeError
    return told


def _text(told: object) -> str:
    if not isinstance(told, str):
        raise TypeError
    return told


def _optional(told: object) -> str | None:
    return None if told is None else _text(told)


def _count(told: object) -> int:
    if not isinstance(told, int) or isinstance(told, bool):
        raise TypeError
    return told


def _seconds(told: object) -> float | None:
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < math.inf:
        raise TypeError
    return float(told)
