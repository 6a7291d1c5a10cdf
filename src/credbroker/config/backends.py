"""The resolver that a configuration asks for."""

from __future__ import annotations

from typing import NoReturn

from credbroker.config.settings import BackendSettings, Platform
from credbroker.context import Environment, Secrets
from credbroker.errors import ConfigurationError
from credbroker.secrets.backend import Backend
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import DEFAULT_ROOT, FilesBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import Resolver


def resolver(platform: Platform, environment: Environment) -> Secrets:
    """Resolves references by ``platform.secret_backends``, in their order. It does no I/O before the first reference.

    A backend of a later version loads, and raises ``ConfigurationError`` when the backends before it lack a secret: to pass
    it over would be to look for the secret in places that the file puts behind it.
    """
    return Resolver([_backend(settings, environment) for settings in platform.secret_backends])


def _backend(settings: BackendSettings, environment: Environment) -> Backend:
    if settings.type == "env":
        return EnvBackend(environment)
    if settings.type == "files":
        return FilesBackend(environment, settings.path or DEFAULT_ROOT)
    return _LaterBackend(settings)


class _LaterBackend:
    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings

    def look(self, reference: SecretReference) -> NoReturn:
        place = f"{self._settings.where}: " if self._settings.where else ""
        raise ConfigurationError(
            f"{place}secret_backends: the type {self._settings.type!r} is not supported by this version of credbroker yet: "
            f"use env or files"
        )
