"""A small evaluator of IAM policies, written from the IAM user guide and not from the code that it judges.

It knows what a session policy here may hold, and stops at anything else: a judge that skips what it does not understand
would pass it. Sources: "IAM JSON policy elements: Version, Action, Resource, Condition operators, Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

KNOWS_VARIABLES = "2012-10-17"
_OLDER = "2008-10-17"  # what an absent Version means
_LITERAL = re.compile(r"\$\{([^}]*)\}")


@lru_cache(maxsize=4096)
def pattern(text: str, version: str) -> re.Pattern[str]:
    """``*`` is any run of characters, ``?`` any one. In version 2012-10-17 alone, ``${*} ${?} ${$}`` are themselves."""
    expression, position = "", 0
    while position < len(text):
        variable = _LITERAL.match(text, position) if version == KNOWS_VARIABLES else None
        if variable is not None:
            assert variable.group(1) in ("*", "?", "$"), f"a variable that nobody meant: {variable.group()!r}"
            expression += re.escape(variable.group(1))
            position = variable.end()
            continue
        assert version != KNOWS_VARIABLES or not text.startswith("${", position), f"a variable without its end: {text!r}"
        expression += {"*": ".*", "?": "."}.get(text[position], re.escape(text[position]))
        position += 1
    return re.compile(expression, re.DOTALL)


def matches(text: str, value: str, version: str = KNOWS_VARIABLES) -> bool:
    return pattern(text, version).fullmatch(value) is not None


def listed(value: object) -> list[str]:
    found = [value] if isinstance(value, str) else value
    assert isinstance(found, list), value
    assert found, "an empty list"
    assert all(isinstance(each, str) for each in found)
    return found


def allowed(policy: Mapping[str, Any], action: str, resource: str, **context: str) -> bool:
    """Whether one statement allows ``action`` on ``resource``; what none allows is denied.

    ``context`` has the request's condition keys, with ``_`` for the colon: ``s3_prefix="a/"``, ``kms_ViaService=…``.
    """
    assert set(policy) <= {"Version", "Statement"}
    version = policy.get("Version", _OLDER)
    assert version in (KNOWS_VARIABLES, _OLDER)
    keys = {name.replace("_", ":", 1).lower(): value for name, value in context.items()}
    assert isinstance(policy["Statement"], list)
    return any(_allows(statement, version, action, resource, keys) for statement in policy["Statement"])


def _allows(statement: Mapping[str, Any], version: str, action: str, resource: str, keys: Mapping[str, str]) -> bool:
    assert statement["Effect"] == "Allow"
    assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}
    # Actions are compared without regard to case, and may hold wildcards, but no variables.
    if not any(matches(asked.lower(), action.lower(), _OLDER) for asked in listed(statement["Action"])):
        return False
    if not any(matches(arn, resource, version) for arn in listed(statement["Resource"])):
        return False
    for operator, tests in statement.get("Condition", {}).items():
        assert operator in ("StringLike", "StringEquals"), operator
        for name, wanted in tests.items():
            value = keys.get(name.lower())
            if value is None:  # an absent key never matches, unless the operator ends in IfExists
                return False
            if operator == "StringLike" and not any(matches(like, value, version) for like in listed(wanted)):
                return False
            if operator == "StringEquals" and value not in listed(wanted):
                return False
    return True


def may(policy: Mapping[str, Any], action: str, bucket: str, key: str, *, partition: str = "aws") -> bool:
    """Whether ``action`` is allowed on an object."""
    return allowed(policy, action, f"arn:{partition}:s3:::{bucket}/{key}")


def may_list(policy: Mapping[str, Any], bucket: str, prefix: str | None, *, partition: str = "aws") -> bool:
    """Whether the bucket may be listed below ``prefix``; None is a listing that names none, and so has no such key."""
    context = {} if prefix is None else {"s3_prefix": prefix}
    return allowed(policy, "s3:ListBucket", f"arn:{partition}:s3:::{bucket}", **context)
