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
from credbroker.profiles import SECTIONS, made_of, named, profile_of
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
    """Drop what is held for the profiles of that name, and what was made of it, then revoke it.

    There is one entry for each value, and at least one for a profile. It is dropped first, so that nobody is given a value
    that is about to end, and nothing that is issued meanwhile is overlooked. What an issuer could not be asked for is asked
    again at the next call. Raises ``ConfigurationError`` for an unknown name.
    """
    entries: list[dict[str, object]] = []
    for profile in named(brokerage.platform, name):
        taken, under_way = _taken(brokerage, profile)
        outcomes = [(one.profile.name, _revoked(brokerage, one)) for one in taken]
        outcomes += [(one.name, runbooks.under_way(one)) for one in under_way]
        entries.extend(
            {"profile": of, "revoked": one.revoked, "reason": one.reason, "runbook": one.runbook}
            for of, one in outcomes or [(name, runbooks.nothing_held(profile))]
        )
    return entries


def _taken(brokerage: Brokerage, profile: Profile) -> tuple[list[_Taken], list[Profile]]:
    """What was held, and the profiles of what was being issued: that is discarded when it comes, and lives on."""
    own = (SECTIONS[profile.kind], profile.name)
    left = brokerage.unrevoked
    waiting: list[_Taken] = [left.popleft() for _ in range(len(left))]
    ours = [one for one in waiting if (SECTIONS[one.request.kind], one.request.profile) == own]
    left.extend(one for one in waiting if one not in ours)
    now = brokerage.context.clock.now()
    taken = [one for one in ours if one.process == os.getpid() and (one.value.expires_at or now) >= now]
    under_way = []
    for slot, value, flying in brokerage.engine.take(lambda slot: made_of(identity(slot), own, brokerage.platform)):
        request = identity(slot)
        of = profile_of(brokerage.platform, request.kind, request.profile)
        if value is not None:
            taken.append(_Taken(of, request, value))
        if flying:
            under_way.append(of)
    return taken, under_way


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
    except KeyboardInterrupt:
        brokerage.unrevoked.append(taken)
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        why = f"the provider failed with {type(error).__name__}"
    if why is not None:
        brokerage.unrevoked.append(taken)
        outcome = Revocation(revoked=False, reason=f"{why} (the next revoke asks again)", runbook=outcome.runbook)
    brokerage.trail.revoked(request, value, revoked=outcome.revoked, reason=outcome.reason)
    return outcome
