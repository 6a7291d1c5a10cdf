"""platform.yaml as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator

from credbroker.config.credentials import CredentialsConfig
from credbroker.config.faults import Fault, failed, faults_of
from credbroker.config.rules import PROFILE_SECTIONS, broken_rules
from credbroker.config.secret_backends import BackendConfig
from credbroker.config.sections import (
    AuditConfig,
    CatalogConfig,
    ComputeConfig,
    NetworkConfig,
    Section,
    StorageConfig,
)
from credbroker.config.sidecar import SidecarConfig
from credbroker.config.tree import Node, tree_of
from credbroker.config.values import Text, Version
from credbroker.errors import ConfigurationError


class PlatformConfig(Section):
    """A whole platform.yaml.

    ``PlatformConfig(catalogs={...})`` and ``PlatformConfig.model_validate(data)`` raise one ``ConfigurationError`` that
    names every fault and no value, where pydantic's own error carries what it was given.
    """

    version: Version | None = None
    environment: Text | None = None
    principal: Text | None = None
    network: NetworkConfig | None = None
    secret_backends: list[BackendConfig] | None = None
    plugins: list[Text] = Field(default_factory=list)
    catalogs: dict[str, CatalogConfig] = Field(default_factory=dict)
    storage: dict[str, StorageConfig] = Field(default_factory=dict)
    compute: dict[str, ComputeConfig] = Field(default_factory=dict)
    credentials: CredentialsConfig | None = None
    audit: AuditConfig | None = None
    observability: dict[str, Any] = Field(default_factory=dict)
    sidecar: SidecarConfig | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, cls):
            return data
        # A traceback keeps each frame's variables: what may hold a literal goes before an error is raised.
        if not isinstance(data, Mapping):
            del data
            raise ConfigurationError("a configuration is a map of sections: catalogs, storage, compute and so on")
        tree: Node = info.context["tree"] if info.context else tree_of(data)
        repeated: list[Fault] = info.context.get("repeated", []) if info.context else []
        broken = [*repeated, *broken_rules(tree)]
        config: Self | None = None
        try:
            config = handler(_given(tree))
        except ValidationError as error:
            broken = faults_of(error, tree) + broken
        if config is None or broken:
            failure = failed(broken)
            del data, tree, broken, repeated, config, info, handler
            raise failure
        return config


def _given(tree: Node) -> dict[str, object]:
    # A key with nothing after it is an absent key; a profile with nothing in it is a profile.
    data = {key: node.plain() for key, node in tree.entries().items() if node.value is not None}
    for section in PROFILE_SECTIONS:
        profiles = tree.entries().get(section)
        if profiles is not None and profiles.entries():
            data[section] = {name: {} if node.value is None else node.plain() for name, node in profiles.entries().items()}
    return data
