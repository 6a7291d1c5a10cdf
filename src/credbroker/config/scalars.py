"""What a plain (unquoted) YAML scalar means: null, truth, number, or else the text as it is written."""

from __future__ import annotations

import re

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# YAML 1.1's words, because the files that floe reads were written for PyYAML.
_TRUE = frozenset(word for name in ("true", "yes", "on") for word in (name, name.capitalize(), name.upper()))
_FALSE = frozenset(word for name in ("false", "no", "off") for word in (name, name.capitalize(), name.upper()))
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{0,15}")


def scalar(text: str) -> object:
    """The value of a plain scalar.

    Dates, ``1:30`` (90 in YAML 1.1), ``0123`` (83), ``1_000`` and ``.nan`` stay texts: nothing here wants them, and an
    account number that begins with a zero is one.
    """
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
