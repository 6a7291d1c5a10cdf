"""For tests, ours and yours: a world made by hand, and what a provider or a secret backend of yours is to be held to."""

from __future__ import annotations

from credbroker.testing.conformance import CheckReport, check_provider
from credbroker.testing.doubles import ControlledProvider, FakeHttp, ManualClock, answer, tick
from credbroker.testing.of_backends import check_backend

__all__ = [
    "CheckReport",
    "ControlledProvider",
    "FakeHttp",
    "ManualClock",
    "answer",
    "check_backend",
    "check_provider",
    "tick",
]
