"""What a provider is held to: one call in its author's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from credbroker.errors import ConfigurationError
from credbroker.request import Access, CredentialRequest

if TYPE_CHECKING:
    from credbroker.profile import Profile
    from credbroker.providers import Provider
    from credbroker.testing.trial import Answers, Subject

Rule = Literal[1, 2, 3, 4, 5, 6, 7, 8]
RULES: Mapping[Rule, str] = {
    1: "`plan` is pure: it asks nobody, reads nothing, and refuses settings that cannot work with a `ConfigurationError` "
    "that names the key.",
    2: "`issue` asks once: it never retries, except once more with another secret after the issuer refused the client.",
    3: "`issue` keeps nothing: each call resolves its secrets anew and asks anew.",
    4: "Only `context` is touched: its clock, its secrets, its environment, and `context.send` for every request.",
    5: "The value says what the issuer granted: an end counted from before the request left, and nothing wider than was "
    "asked.",
    6: "Every error is one of credbroker's, of the class that says what to do.",
    7: "No secret, and nothing that was received, is in a text: an error, a log record, a warning, output, a repr, or a "
    "local of a frame that raised.",
    8: "Many threads call it at once, each with its own context, and none waits for another's request.",
}
"""The contract, as docs/write-a-provider.md has it."""


class NotApplicable(Exception):
    """A check that has nothing to look at here; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at. ``faults`` yields what is wrong, in words; nothing is fine."""

    name: str
    rule: Rule
    faults: Callable[[Subject], Iterator[str]]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The checks that passed, and those that had nothing to look at, with the reason."""

    passed: tuple[str, ...]
    left_out: tuple[str, ...]


def check_provider(
    provider: Callable[[], Provider],
    *,
    config: Mapping[str, Any],
    kind: Literal["catalog", "storage", "compute"],
    name: str,
    secrets: Mapping[str, str],
    answers: Answers | None = None,
    variables: Mapping[str, str] | None = None,
) -> CheckReport:
    """Hold a provider to the contract of the seam. Nothing leaves the process, and no time goes by.

    ``provider`` makes one, as its entry point does: the class itself will do. ``config`` is a platform configuration as a
    mapping, with the profile ``name`` of that ``kind`` in the provider's mode. ``secrets`` are the values of its
    ``secret_ref``s by name, each of eight characters at least, as they are looked for in every text. ``answers`` is the
    issuer: called with each request and the issuer's time, it returns the answer to a request that is right (make it with
    ``credbroker.testing.answer``) and raises ``AssertionError`` for one that is not. Without it the provider must be one
    that asks nobody. ``variables`` are the environment's.

    Raises one ``AssertionError`` that lists every check that failed, with the rule that it is about, and
    ``ConfigurationError`` for a ``config`` that does not load.
    """
    from credbroker.testing.trial import Subject

    profile, request = _asked(config, kind, name, secrets)
    subject = Subject(
        make=provider,
        config=config,
        profile=profile,
        request=request,
        answers=answers,
        secrets=dict(secrets),
        variables=dict(variables or {}),
    )
    return run(_checks(), subject, f"{type(subject.make()).__name__} breaks the contract of a provider")


def run(checks: Iterable[Check], subject: Subject, failed: str) -> CheckReport:
    """Run every check, and raise one ``AssertionError`` for all that failed."""
    passed: list[str] = []
    left_out: list[str] = []
    faults: list[str] = []
    for check in checks:
        try:
            found = list(dict.fromkeys(check.faults(subject)))
        except NotApplicable as reason:
            left_out.append(f"{check.name}: {reason}")
            continue
        except AssertionError:
            raise  # what the test's own issuer says of a request
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
            found = [f"it raised {type(error).__name__}"]
        if found:
            faults.append(f"{check.name}: {'; '.join(found)}\n      rule {check.rule}: {RULES[check.rule]}")
        else:
            passed.append(check.name)
    if faults:
        listed = "\n  - ".join(faults)
        total = len(faults) + len(passed)
        raise AssertionError(f"{failed} ({len(faults)} of {total} checks; docs/write-a-provider.md):\n  - {listed}")
    return CheckReport(tuple(passed), tuple(left_out))


def _asked(
    config: Mapping[str, Any], kind: Literal["catalog", "storage", "compute"], name: str, secrets: Mapping[str, str]
) -> tuple[Profile, CredentialRequest]:
    """The profile, and a request for it."""
    from credbroker.config import from_data
    from credbroker.testing.leaks import SHORTEST

    short = [secret for secret, text in secrets.items() if len(text) < SHORTEST]
    if short:
        raise ValueError(f"give the secret {short[0]!r} {SHORTEST} characters at least: it is looked for in every text")
    platform = from_data(config)
    sections: Mapping[str, Mapping[str, Profile]] = {
        "catalog": platform.catalogs,
        "storage": platform.storage,
        "compute": platform.compute,
    }
    profile = sections[kind].get(name)
    if profile is None or profile.credentials is None:
        raise ConfigurationError(f"the configuration has no {kind} profile {name!r} with credentials")
    if kind == "storage":
        return profile, CredentialRequest(kind, name, locations=profile.locations[:1], access=Access.READ)
    return profile, CredentialRequest(kind, name)


def _checks() -> tuple[Check, ...]:
    from credbroker.testing import of_answers, of_issue, of_plan

    return (*of_plan.CHECKS, *of_issue.CHECKS, *of_answers.CHECKS)
