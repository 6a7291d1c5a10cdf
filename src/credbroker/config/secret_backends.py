"""The ``secret_backends`` of platform.yaml as they are written, and which keys each type has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from credbroker.config.faults import Fault, nearest
from credbroker.config.tree import Node, Path
from credbroker.config.values import AbsolutePath, Property, Reference, Text, TextOrReference
from credbroker.secrets.settings import BackendSettings


class BackendAuthConfig(BaseModel):
    """How a vault, or a cloud's secret manager, is logged in to."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    method: Text
    role: Text | None = None
    mount: Text | None = None
    token: Reference | None = None
    role_id: TextOrReference | None = None
    secret_id: Reference | None = None
    jwt: Reference | None = None
    path: AbsolutePath | None = None
    key: Reference | None = None
    audience: Text | None = None
    tenant_id: Text | None = None
    client_id: TextOrReference | None = None
    client_secret: Reference | None = None


class BackendConfig(BaseModel):
    """One place where secrets are looked for. The keys beside these are a plug-in's own."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: Text
    path: AbsolutePath | None = None
    address: Text | None = None
    mount: Text | None = None
    dynamic_mount: Text | None = None
    namespace: Text | None = None
    prefix: Text | None = None
    auth: BackendAuthConfig | None = None
    region: Text | None = None
    endpoint: Text | None = None
    kms_endpoint: Text | None = None
    credential_source: Text | None = None
    project: Text | None = None
    table: Text | None = None
    key_id: Text | None = None
    encryption_context: dict[str, Property] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the known keys."""
        return dict(self.model_extra or {})


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one type of backend, or of one method of its ``auth``."""

    needed: frozenset[str] = frozenset()
    further: frozenset[str] = frozenset()
    auth: Mapping[str, Keys] = field(default_factory=dict)

    @property
    def known(self) -> frozenset[str]:
        return self.needed | self.further


def _keys(needed: str = "", further: str = "", auth: Mapping[str, Keys] | None = None) -> Keys:
    return Keys(frozenset(needed.split()), frozenset(further.split()), auth or {})


_VAULT_LOGINS = {
    "token": _keys("token"),
    "kubernetes": _keys("role", "mount path"),
    "approle": _keys("role_id secret_id", "mount"),
    "jwt": _keys("role", "mount path jwt"),
}
_GCP_LOGINS = {
    "service_account_key": _keys("key"),
    "web_identity": _keys("path audience"),
    "metadata": _keys(),
}
_AZURE_LOGINS = {
    "client_secret": _keys("tenant_id client_id client_secret"),
    "workload_identity": _keys("tenant_id client_id path"),
    "managed_identity": _keys(further="client_id"),
}
TYPES: dict[str, Keys] = {
    "env": _keys(),
    "files": _keys(further="path"),
    "vault": _keys("address auth", "mount dynamic_mount namespace prefix", _VAULT_LOGINS),
    "aws_secrets_manager": _keys("region credential_source", "prefix endpoint"),
    "aws_ssm": _keys("region credential_source", "prefix endpoint"),
    "gcp": _keys("project auth", "prefix endpoint", _GCP_LOGINS),
    "azure": _keys("address auth", "prefix", _AZURE_LOGINS),
    "kms": _keys("path region key_id credential_source", "encryption_context endpoint"),
    "dynamodb_kms": _keys("table region key_id credential_source", "encryption_context endpoint kms_endpoint"),
}
"""The built-in types. A plug-in's type is its entry point's name."""


def broken_backends(tree: Node, plugins: frozenset[str]) -> Iterator[Fault]:
    """Types, and methods of a login, that nobody knows."""
    for index, backend in enumerate(tree.entries().get("secret_backends", Node(None)).items()):
        path: Path = ("secret_backends", index)
        node = backend.entries().get("type")
        if node is None or not isinstance(node.value, str):
            continue  # the field's own check says so
        keys = TYPES.get(node.value)
        if keys is None:
            if node.value not in plugins:
                meant = nearest(node.value, TYPES)
                hint = f"did you mean {meant!r}?" if meant else f"use {', '.join(TYPES)}, or list it under plugins"
                yield Fault(node, (*path, "type"), f"is an unknown type: {hint}")
            continue
        method = backend.entries().get("auth", Node(None)).entries().get("method", Node(None))
        if keys.auth and isinstance(method.value, str) and method.value not in keys.auth:
            text = f"is an unknown method for {node.value!r}: use {', '.join(keys.auth)}"
            yield Fault(method, (*path, "auth", "method"), text)


def missing_key(settings: BackendSettings) -> str | None:
    """The first key that a backend of a built-in type lacks, None where it is complete or a plug-in's."""
    keys = TYPES.get(settings.type, Keys())
    for key in sorted(keys.needed):
        if not getattr(settings, key):
            return key
    login = settings.auth
    for key in sorted(keys.auth[login.method].needed) if login is not None and keys.auth else ():
        if not getattr(login, key):
            return f"auth.{key}"
    return None
