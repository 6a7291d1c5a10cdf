"""SecretReference: the name of a secret, never the secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, model_validator

from credbroker.errors import ConfigurationError

# floe-runtime's pattern: what can be both a Kubernetes Secret and, in upper snake case, an environment variable. It has
# neither "/" nor ".", so that no name leads out of a backend's directory.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,252}")
# The keys of a Kubernetes Secret ([-._a-zA-Z0-9]+), without "..", ".", and the kubelet's own "..data".
_FIELD = re.compile(r"\.?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,251}")
_KEYS = ("secret_ref", "field", "next", "engine")
_REMEDY = "write {secret_ref: name}, and keep the value in the secret of that name"


class SecretReference(BaseModel):
    """Names a secret: ``SecretReference(secret_ref="polaris-oauth-secret")``.

    ``field`` picks one of several values in that secret; ``next`` names a second secret that is valid too while the first is
    being rotated; ``engine: dynamic`` asks for a lease. Raises ``ConfigurationError`` for an illegal name or for a literal
    in its place, and never repeats what it was given: it may be the secret itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret_ref: str
    field: str | None = None
    next: str | None = None
    engine: Literal["dynamic"] | None = None
    _where: str = PrivateAttr(default="")

    @model_validator(mode="before")
    @classmethod
    def _check(cls, data: object) -> object:
        # Before pydantic looks at a single field: its own errors carry the input, which may be a secret (pydantic #7461).
        fault = None if isinstance(data, SecretReference) else _fault(data)
        if fault is not None:
            del data  # a traceback keeps each frame's variables
            raise ConfigurationError(fault)
        return data

    @property
    def where(self) -> str:
        """File, line and field where it stands, for errors; empty where it was made by a program. It makes no difference."""
        return self._where

    def placed(self, where: str) -> SecretReference:
        """The same reference, that knows where it stands."""
        placed = self.model_copy()
        placed._where = where  # noqa: SLF001 - its own class
        return placed

    def __eq__(self, other: object) -> bool:
        # Pydantic's own compares private attributes too.
        return isinstance(other, SecretReference) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.secret_ref, self.field, self.next, self.engine))

    @property
    def successor(self) -> SecretReference | None:
        """The reference to the second valid secret (the same field of it), or None where there is no rotation."""
        if self.next is None:
            return None
        return SecretReference(secret_ref=self.next, field=self.field, engine=self.engine).placed(self._where)

    def resolve(self) -> SecretStr:
        """The secret's value now: the environment variable in upper snake case, then the file below ``/var/run/secrets``.

        Raises ``SecretNotFound``, which names every place that was tried.
        """
        from credbroker.context import Context
        from credbroker.secrets.resolver import Resolver, default_backends
        from credbroker.system.environment import SystemEnvironment

        return Resolver(default_backends(), Context(environment=SystemEnvironment())).resolve(self)

    def __str__(self) -> str:
        return self.secret_ref if self.field is None else f"{self.secret_ref}.{self.field}"


def _fault(data: object) -> str | None:
    """What is wrong with ``data`` as a reference, or None."""
    if isinstance(data, str):
        return f"holds a literal where a reference belongs: {_REMEDY}"
    if not isinstance(data, Mapping):
        return f"must be a reference to a secret: {_REMEDY}"
    if any(key not in _KEYS for key in data):
        # The key is not shown: {hunter2} is YAML for {hunter2: null}.
        return f"has an unknown key: a reference has {', '.join(_KEYS)} only; {_REMEDY}"
    if "secret_ref" not in data:
        return f"has no secret_ref: {_REMEDY}"
    return _fault_of_names(data)


def _fault_of_names(data: Mapping[str, object]) -> str | None:
    for key, pattern in (("secret_ref", _NAME), ("next", _NAME), ("field", _FIELD)):
        value = data.get(key)
        if value is None and key != "secret_ref":
            continue
        if not isinstance(value, str) or not pattern.fullmatch(value):
            return f"has a {key} that is no legal name (letters, digits, '-', '_'; not shown): {_REMEDY}"
    if data.get("next") is not None and data["next"] == data["secret_ref"]:
        return "names the same secret as secret_ref and as next: during a rotation there are two"
    return None if data.get("engine") in (None, "dynamic") else "has an engine that is not 'dynamic'"
