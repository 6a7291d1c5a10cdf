"""Which environments are production: there the rules that protect it hold."""

from __future__ import annotations

from difflib import SequenceMatcher

_PRODUCTION = ("production", "prod", "prd", "live")
_ALIKE = 0.8


def is_production(environment: str | None) -> bool:
    """Whether the strict rules hold: where nothing is said, for production's names, and for a slip of the pen near them.

    ``prodution`` must not open what ``production`` closes; ``preprod`` and ``non-production`` are not production.
    """
    name = (environment or "").strip().lower()
    if not name or name in _PRODUCTION:
        return True
    if name.startswith(("pre", "non")):
        return False
    return SequenceMatcher(None, name, "production").ratio() >= _ALIKE


def is_misspelt(environment: str | None) -> bool:
    """Whether this is taken for production though it is not quite its name."""
    name = (environment or "").strip().lower()
    return bool(name) and name not in _PRODUCTION and is_production(name)
