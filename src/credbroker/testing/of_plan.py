"""The checks of ``plan``: it only looks at settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from credbroker.errors import ConfigurationError
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers import Grant
from credbroker.testing.conformance import Check, NotApplicable
from credbroker.testing.trial import Subject
from credbroker.testing.watching import watched

# What the broker itself reads, and what has a meaning without being written.
_NOT_ITS_OWN = frozenset({"mode", "timeout", "default_ttl", "reread_interval", "options"})
_ODD: tuple[object, ...] = (17, ["a", "list"], {"a": "map"}, True, "")


def _is_pure(subject: Subject) -> Iterator[str]:
    provider = subject.make()
    request = subject.asked
    first: object = provider.plan(request, subject.profile)  # imports what it needs
    with watched() as seen:
        second = provider.plan(request, subject.profile)
    yield from (f"it reached for {thing}" for thing in seen.touched)
    if not isinstance(first, Grant):
        yield f"it returned {type(first).__name__}, not a Grant"
    elif first != second:
        yield "two calls gave two plans"
    if seen.said:
        yield "it logs, warns or prints"


def _refuses_what_is_missing(subject: Subject) -> Iterator[str]:
    block = _block(subject.profile)
    given = _given(block)
    if not given:
        raise NotApplicable("the profile has no settings beside its mode")
    for key in given:
        yield from _refusal(subject, _without(block, key), key, f"without {key!r}")
    provider, empty = subject.make(), block
    for key in given:
        empty = _without(empty, key)
    try:
        provider.plan(subject.asked, replace(subject.profile, credentials=empty))
    except ConfigurationError as error:
        if not any(key in str(error) for key in given):
            yield "without any of its settings it raised a ConfigurationError that names none of them"
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        yield f"without any of its settings it raised {type(error).__name__}, not ConfigurationError"
    else:
        yield f"it accepts a profile without any of its settings ({', '.join(given)})"


def _refuses_other_types(subject: Subject) -> Iterator[str]:
    block = _block(subject.profile)
    if not block.options:
        raise NotApplicable("the mode has no keys of its own")
    for key in block.options:
        for odd in _ODD:
            other = replace(block, options={**block.options, key: odd})
            yield from _refusal(subject, other, key, f"with {odd!r} as {key!r}")


def _refusal(subject: Subject, block: CredentialSettings, key: str, how: str) -> Iterator[str]:
    """What is wrong with how it takes other settings: it may accept them, or name the key in a ConfigurationError."""
    try:
        subject.make().plan(subject.asked, replace(subject.profile, credentials=block))
    except ConfigurationError as error:
        if key not in str(error):
            yield f"{how} it raised a ConfigurationError that does not name the key"
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        yield f"{how} it raised {type(error).__name__}, not ConfigurationError"


def _block(profile: Profile) -> CredentialSettings:
    if profile.credentials is None:  # check_provider has seen to it
        raise NotApplicable("the profile has no credentials")
    return profile.credentials


def _defaults() -> Mapping[str, Any]:
    return {
        field.name: field.default_factory() if field.default_factory is not MISSING else field.default
        for field in fields(CredentialSettings)
        if field.name not in _NOT_ITS_OWN
    }


def _given(block: CredentialSettings) -> list[str]:
    return [*(key for key, default in _defaults().items() if getattr(block, key) != default), *block.options]


def _without(block: CredentialSettings, key: str) -> CredentialSettings:
    if key in block.options:
        return replace(block, options={name: value for name, value in block.options.items() if name != key})
    return replace(block, **{key: _defaults()[key]})


CHECKS = (
    Check("plan is pure", 1, _is_pure),
    Check("plan refuses settings that are missing", 1, _refuses_what_is_missing),
    Check("plan refuses settings of another type", 1, _refuses_other_types),
)
