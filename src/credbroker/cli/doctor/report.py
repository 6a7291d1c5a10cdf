"""What ``doctor --scope`` found, and whether it proves a fence."""

from __future__ import annotations

from dataclasses import dataclass

from credbroker.cli.doctor.tries import ASSUME_AGAIN
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.fence import Attempt, Outcome
from credbroker.location import Location
from credbroker.request import Access

_REMEDY = (
    "they reach all that the role may do. Have each role that trusts this user ask for lasting keys, in the Allow of its "
    'trust policy: "Condition": {"Null": {"aws:TokenIssueTime": "true"}}'
)


@dataclass(frozen=True, slots=True)
class Report:
    """The controls inside the grant, the attempts outside it, and what was written and could not be deleted again.

    ``unscoped`` says why nothing narrows the credentials of this profile; then nothing was tried.
    """

    profile: str
    where: str
    location: Location
    folder: Location
    sibling: Location
    access: Access
    controls: tuple[Attempt, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unscoped: str | None = None

    @property
    def findings(self) -> list[str]:
        """All that speaks against the fence, or against this proof of it, the gravest first."""
        found = [self.unscoped] if self.unscoped else []
        allowed = [attempt.what for attempt in self.attempts if attempt.allowed]
        if opened := [what for what in allowed if what != ASSUME_AGAIN]:
            found.append(f"the store ALLOWED, outside what the credentials are for: {'; '.join(opened)}")
        if ASSUME_AGAIN in allowed:
            found.append(f"the keys can {ASSUME_AGAIN}: {_REMEDY}")
        if failed := [f"{control.what} ({control.answer})" for control in self.controls if not worked(control)]:
            found.append(
                f"did not work inside: {'; '.join(failed)}. Keys that do not open what they should prove nothing by what "
                "they do not open"
            )
        if open_ := [f"{one.what} ({one.answer})" for one in self.attempts if not (one.allowed or one.kept)]:
            found.append(f"neither refused nor allowed: {'; '.join(open_)}")
        if self.left:
            found.append(f"could not be deleted again: {', '.join(self.left)}")
        return found

    @property
    def ok(self) -> bool:
        """Whether no attempt had anything, with keys that work, and nothing is left behind."""
        return bool(self.attempts) and not self.findings

    @property
    def code(self) -> ExitCode:
        """``UNAVAILABLE`` only where the store's silence is all that there is against it: it may be asked again."""
        if self.ok:
            return ExitCode.FINE
        against = [one for one in self.controls if not worked(one)] + [one for one in self.attempts if not one.kept]
        silent = bool(against) and all(one.unanswered for one in against)
        return ExitCode.UNAVAILABLE if silent and not self.left else ExitCode.FINDING

    @property
    def verdict(self) -> str:
        """In one line, without the findings."""
        refused = f"{sum(one.refused for one in self.attempts)} of {len(self.attempts)} attempts outside were refused"
        if self.ok:
            return f"fenced: {refused}"
        if self.unscoped or any(one.allowed for one in self.attempts):
            return f"NOT FENCED: {refused}"
        return f"NOT PROVEN: {refused}" if self.attempts else "NOT PROVEN: nothing was tried outside"

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "ok": self.ok,
            "profile": self.profile,
            "location": str(self.location),
            "folder": str(self.folder),
            "sibling": str(self.sibling),
            "access": self.access.value,
            "controls": [
                {"what": one.what, "grant": one.grant, "worked": worked(one), "answer": one.answer} for one in self.controls
            ],
            "attempts": [
                {"what": one.what, "grant": one.grant, "refused": one.refused, "answer": one.answer} for one in self.attempts
            ],
            "left": list(self.left),
            "notes": list(self.notes),
            "verdict": self.verdict,
            "findings": self.findings,
        }


def worked(control: Attempt) -> bool:
    """Whether what must work did: to find nothing (404) is not enough."""
    return control.outcome is Outcome.DONE
