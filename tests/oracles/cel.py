"""An evaluator of Credential Access Boundaries, written from Google's pages and not from the code that it judges.

The conditions are parsed, type-checked and evaluated by Google's own CEL runtime (``cel-expr-python``, the one in C++): a
condition that is no CEL, or no boolean, stops the judge instead of passing for a refusal. Sources:

- "Credential Access Boundaries overview" and the reference of AccessBoundary: the rules add up; a rule counts where it is
  about the bucket, one of its roles has the permission, and its condition, if it has one, is true.
- "Attribute reference for IAM Conditions": ``resource.name`` is ``projects/_/buckets/BUCKET`` or that and ``/objects/NAME``;
  ``api.getAttribute(name, default)`` has ``storage.googleapis.com/objectListPrefix`` in list calls alone, ``''`` where
  the call has no prefix.
- "IAM roles for Cloud Storage" for the roles' permissions, as Google's ``roles.get`` answered in November 2025 (kept by
  iann0036/iam-dataset), and "IAM permissions for JSON methods" and "for XML methods" for the resource that each permission
  is asked on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

LIST_PREFIX = "storage.googleapis.com/objectListPrefix"

_UPLOAD = {"storage.multipartUploads.abort", "storage.multipartUploads.create", "storage.multipartUploads.listParts"}
_FOLDERS_READ = {
    "storage.folders.get",
    "storage.folders.list",
    "storage.managedFolders.get",
    "storage.managedFolders.list",
}
_FOLDERS_WRITE = {
    "storage.folders.create",
    "storage.folders.delete",
    "storage.folders.rename",
    "storage.managedFolders.create",
    "storage.managedFolders.delete",
}
_USER = (
    _UPLOAD
    | _FOLDERS_READ
    | _FOLDERS_WRITE
    | {
        "storage.multipartUploads.list",
        "storage.objects.create",
        "storage.objects.createContext",
        "storage.objects.delete",
        "storage.objects.deleteContext",
        "storage.objects.get",
        "storage.objects.list",
        "storage.objects.move",
        "storage.objects.restore",
        "storage.objects.update",
        "storage.objects.updateContext",
    }
)
ROLES = {
    "roles/storage.legacyObjectReader": {"storage.objects.get"},
    "roles/storage.legacyBucketReader": _FOLDERS_READ
    | {"storage.buckets.get", "storage.multipartUploads.list", "storage.objects.list"},
    "roles/storage.legacyBucketWriter": _UPLOAD
    | _FOLDERS_READ
    | _FOLDERS_WRITE
    | {
        "storage.buckets.get",
        "storage.multipartUploads.list",
        "storage.objects.create",
        "storage.objects.createContext",
        "storage.objects.delete",
        "storage.objects.list",
        "storage.objects.restore",
        "storage.objects.setRetention",
    },
    "roles/storage.objectViewer": _FOLDERS_READ | {"storage.objects.get", "storage.objects.list"},
    "roles/storage.objectCreator": _UPLOAD
    | {"storage.folders.create", "storage.managedFolders.create", "storage.objects.create", "storage.objects.createContext"},
    "roles/storage.objectUser": _USER,
    "roles/storage.objectAdmin": _USER
    | {
        "storage.objects.getIamPolicy",
        "storage.objects.overrideUnlockedRetention",
        "storage.objects.setIamPolicy",
        "storage.objects.setRetention",
    },
}

_STRINGS = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
_GET_ATTRIBUTE = cel.Overload(
    id="api_get_attribute",
    return_type=cel.Type.STRING,
    parameters=[_STRINGS, cel.Type.STRING, cel.Type.STRING],
    is_member=True,
    impl=lambda attributes, name, default: attributes.get(name, default),
)
_ENVIRONMENT = cel.NewEnv(
    variables={"resource": _STRINGS, "api": _STRINGS}, functions=[cel.FunctionDecl("getAttribute", [_GET_ATTRIBUTE])]
)


def allows(boundary: Mapping[str, Any], permission: str, bucket: str, target: str | None = None) -> bool:
    """Whether the boundary leaves ``permission`` to a token that had every right before.

    ``target`` is the object's name; for ``storage.objects.list`` the prefix that the call gives, None where it gives none;
    None for what is asked on the bucket itself.
    """
    assert set(boundary) == {"accessBoundary"}
    assert set(boundary["accessBoundary"]) == {"accessBoundaryRules"}
    rules = boundary["accessBoundary"]["accessBoundaryRules"]
    assert 1 <= len(rules) <= 10
    name, attributes = f"projects/_/buckets/{bucket}", {}
    if permission == "storage.objects.list":
        attributes[LIST_PREFIX] = target or ""
    elif permission.startswith("storage.objects.") or permission in _UPLOAD:
        assert target is not None, f"{permission} is asked on an object"
        name += f"/objects/{target}"
    else:
        assert target is None, f"{permission} is asked on the bucket"
    # Every rule is looked at: one that is no CEL must not pass for want of a question that reaches it.
    verdicts = [_grants(rule, permission, bucket, name, attributes) for rule in rules]
    return any(verdicts)


def evaluated(expression: str, name: str = "", attributes: Mapping[str, str] | None = None) -> object:
    """What CEL makes of the expression; ``AssertionError`` or ``RuntimeError`` where that is nothing."""
    found = _compiled(expression).eval(data={"resource": {"name": name}, "api": dict(attributes or {})})
    assert found.type() != cel.Type.ERROR, found.value()
    return found.value()


@lru_cache(maxsize=64)
def _compiled(expression: str) -> cel.Expression:
    return _ENVIRONMENT.compile(expression)


def _grants(rule: Mapping[str, Any], permission: str, bucket: str, name: str, attributes: Mapping[str, str]) -> bool:
    assert {"availableResource", "availablePermissions"} <= set(rule)
    assert set(rule) <= {"availableResource", "availablePermissions", "availabilityCondition"}
    ceiling = set()
    for role in rule["availablePermissions"]:
        assert role.startswith("inRole:"), role
        ceiling |= ROLES[role.removeprefix("inRole:")]
    applies = True
    if "availabilityCondition" in rule:
        assert set(rule["availabilityCondition"]) == {"expression"}
        expression = rule["availabilityCondition"]["expression"]
        assert 1 <= len(expression) <= 2048
        applies = evaluated(expression, name, attributes)  # type: ignore[assignment]
        assert isinstance(applies, bool), expression
    about = rule["availableResource"] == f"//storage.googleapis.com/projects/_/buckets/{bucket}"
    return applies and about and permission in ceiling
