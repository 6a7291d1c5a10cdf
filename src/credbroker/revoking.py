"""Revoking a profile: what its issuers take back is taken back, what is held is dropped, and the rest is reported."""

from __future__ import annotations

from credbroker import runbooks
from credbroker.brokerage import Brokerage, identity
from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError
from credbroker.issuing import AnchoredClock, in_flight
from credbroker.profile import Profile
from credbroker.providers import Revocation
from credbroker.refresh.slot import Slot


def revoke(brokerage: Brokerage, name: str) -> list[dict[str, object]]:
    """Revoke, then purge, what is held for the profiles of that name. One entry for each value, at least one a profile.

    Whatever an issuer answers, nothing of it is held afterwards. Raises ``ConfigurationError`` for an unknown name.
    """
    entries: list[dict[str, object]] = []
    for profile in brokerage.named(name):
        held = [(slot, value) for slot in _slots(brokerage, profile) if (value := slot.held[0]) is not None]
        outcomes = [_revoked(brokerage, profile, slot, value) for slot, value in held] or [runbooks.nothing_held(profile)]
        entries.extend(
            {"profile": name, "revoked": one.revoked, "reason": one.reason, "runbook": one.runbook} for one in outcomes
        )
    brokerage.engine.purge(lambda slot: slot.profile == name)
    return entries


def _slots(brokerage: Brokerage, profile: Profile) -> list[Slot]:
    kinds = ("catalog", "table") if profile.kind == "catalog" else (profile.kind,)
    return [slot for slot in brokerage.engine.slots() if slot.profile == profile.name and identity(slot).kind in kinds]


def _revoked(brokerage: Brokerage, profile: Profile, slot: Slot, value: Credential) -> Revocation:
    request = identity(slot)
    outcome = runbooks.irrevocable(profile, value)
    try:
        ask = getattr(brokerage.provider(request, profile), "revoke", None)
        if ask is not None:
            clock = AnchoredClock(brokerage.context.clock)
            flight = in_flight(brokerage.context, clock, profile, clock.elapsed() + slot.timeout)
            outcome = ask(value, request, flight)
    except CredbrokerError as error:
        outcome = Revocation(
            revoked=False, reason=f"the issuer could not be asked: {error.message}", runbook=outcome.runbook
        )
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        reason = f"the provider failed with {type(error).__name__}"
        outcome = Revocation(revoked=False, reason=reason, runbook=outcome.runbook)
    brokerage.trail.revoked(request, value, revoked=outcome.revoked, reason=outcome.reason)
    return outcome
