"""Revoking a profile: nothing of it is held any more, what its issuers take back is taken back, and the rest is reported."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from credbroker import runbooks
from credbroker.brokerage import Brokerage, identity
from credbroker.credentials import Credential
from credbroker.errors import CredbrokerError
from credbroker.issuing import AnchoredClock, in_flight
from credbroker.profile import Profile
from credbroker.profiles import named
from credbroker.providers import Revocation
from credbroker.request import CredentialRequest


@dataclass(frozen=True, slots=True)
class _Taken:
    """A value that is held no more, and is to be revoked."""

    profile: Profile
    request: CredentialRequest
    value: Credential = field(repr=False)
    process: int = field(default_factory=os.getpid)
    """A forked child inherits no credential: what its parent is about to revoke is its parent's."""


def revoke(brokerage: Brokerage, name: str) -> list[dict[str, object]]:
    """Drop what is held for the profiles of that name, then revoke it: one entry for each value, at least one a profile.

    It is dropped first, so that nobody is given a value that is about to end, and nothing that is issued meanwhile is
    overlooked. What an issuer could not be asked for is asked again at the next call. Raises ``ConfigurationError`` for an
    unknown name.
    """
    entries: list[dict[str, object]] = []
    for profile in named(brokerage.platform, name):
        outcomes = [_revoked(brokerage, taken) for taken in _taken(brokerage, profile)] or [runbooks.nothing_held(profile)]
        entries.extend(
            {"profile": name, "revoked": one.revoked, "reason": one.reason, "runbook": one.runbook} for one in outcomes
        )
    return entries


def _taken(brokerage: Brokerage, profile: Profile) -> list[_Taken]:
    kinds = ("catalog", "table") if profile.kind == "catalog" else (profile.kind,)
    left = brokerage.unrevoked
    waiting: list[_Taken] = [left.popleft() for _ in range(len(left))]
    ours = [one for one in waiting if one.profile.name == profile.name and one.request.kind in kinds]
    left.extend(one for one in waiting if one not in ours)
    now = brokerage.context.clock.now()
    again = [one for one in ours if one.process == os.getpid() and (one.value.expires_at or now) >= now]
    dropped = brokerage.engine.take(lambda slot: slot.profile == profile.name and identity(slot).kind in kinds)
    return again + [_Taken(profile, identity(slot), value) for slot, value in dropped if value is not None]


def _revoked(brokerage: Brokerage, taken: _Taken) -> Revocation:
    profile, request, value = taken.profile, taken.request, taken.value
    outcome = runbooks.irrevocable(profile, value)
    why: str | None = None
    try:
        ask = getattr(brokerage.provider(request, profile), "revoke", None)
        if ask is not None:
            clock = AnchoredClock(brokerage.context.clock)
            seconds = profile.credentials.timeout.total_seconds() if profile.credentials is not None else 10.0
            outcome = ask(value, request, in_flight(brokerage.context, clock, profile, clock.elapsed() + seconds))
    except CredbrokerError as error:
        why = f"the issuer could not be asked: {error.message}"
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        why = f"the provider failed with {type(error).__name__}"
    if why is not None:
        brokerage.unrevoked.append(taken)
        outcome = Revocation(revoked=False, reason=f"{why} (the next revoke asks again)", runbook=outcome.runbook)
    brokerage.trail.revoked(request, value, revoked=outcome.revoked, reason=outcome.reason)
    return outcome
