"""Status: what a broker holds, told without a secret."""

from __future__ import annotations

from credbroker.brokerage import Brokerage, identity
from credbroker.errors import CredbrokerError
from credbroker.refresh.slot import Slot


def status(brokerage: Brokerage, slots: list[Slot] | None = None) -> list[dict[str, object]]:
    """One entry a key, of all that are held or of ``slots``; see ``Broker.status``."""
    return [entry(brokerage, slot) for slot in (brokerage.engine.slots() if slots is None else slots)]


def entry(brokerage: Brokerage, slot: Slot) -> dict[str, object]:
    """The state of one key."""
    now, wall = brokerage.context.clock.elapsed(), brokerage.context.clock.now()
    request = identity(slot)
    value, instants, failure = slot.held[0], slot.instants, slot.failure
    state = instants.state(now).value if value is not None and instants is not None else "absent"
    return {
        "kind": request.kind,
        "profile": request.profile,
        "locations": [str(location) for location in request.locations],
        "table": ".".join(request.table) if request.table else None,
        "access": request.access.value if request.access else None,
        "scopes": sorted(request.scopes),
        "audience": request.audience,
        "base": request.base,
        "principal": request.principal,
        "actor": request.actor,
        "state": state,
        "fingerprint": value.fingerprint if value is not None else None,
        "expires_at": value.expires_at if value is not None else None,
        "refresh_in": max(0.0, instants.refresh_at - now) if instants is not None else None,
        "refused": slot.refused_served,
        "failures": slot.failures,
        "error": f"{type(failure).__name__}: {failure}" if isinstance(failure, CredbrokerError) else None,
        "at": wall,
    }
