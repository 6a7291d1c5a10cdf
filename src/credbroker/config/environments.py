"""Which environments are production: there the rules that protect it hold."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import pairwise

_PRODUCTION = frozenset({"production", "prod", "prd", "live"})
_OTHER = frozenset(
    {"dev", "devel", "development", "test", "tests", "testing", "stage", "staging", "stg", "local", "localhost", "ci", "qa"}
    | {"uat", "sandbox", "demo"}
)
_NOT = ("pre", "non")
_ALIKE = 0.8
_WORD = re.compile(r"[^\W\d_]+")


def is_production(environment: str | None) -> bool:
    """Whether the strict rules hold: where nothing is said, where any word of the name is production's, or a slip near it.

    ``prod-eu``, ``eu_prod`` and ``prod1`` are production, and ``prodution`` must not open what ``production`` closes;
    ``preprod``, ``pre-prod`` and ``eu-non-production`` are not production.
    """
    return not (environment or "").strip() or any(_is_near(word) for word in _claims(environment))


def is_misspelt(environment: str | None) -> bool:
    """Whether this is taken for production though none of its words is quite production's."""
    claims = _claims(environment)
    return any(map(_is_near, claims)) and _PRODUCTION.isdisjoint(claims)


def is_unknown(environment: str | None) -> bool:
    """Whether this is no production, and no name either that says what it is."""
    words = _words(environment)
    return not is_production(environment) and _OTHER.isdisjoint(words) and len(_claims(environment)) == len(words)


def _words(environment: str | None) -> list[str]:
    return _WORD.findall((environment or "").lower())


def _claims(environment: str | None) -> list[str]:
    """The words, without those that ``pre`` or ``non`` takes back."""
    return [
        word
        for before, word in pairwise(["", *_words(environment)])
        if before not in _NOT and not (word.startswith(_NOT) and _is_near(word[3:]))
    ]


def _is_near(word: str) -> bool:
    return word in _PRODUCTION or SequenceMatcher(None, word, "production").ratio() >= _ALIKE
