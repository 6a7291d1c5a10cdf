"""The resolver that a configuration asks for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import import_module
from typing import NoReturn

from credbroker.config.secret_backends import missing_key
from credbroker.config.settings import Platform
from credbroker.context import Context, Secrets
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.secrets import plugins
from credbroker.secrets.backend import Backend
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import DEFAULT_ROOT, FilesBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import Resolver
from credbroker.secrets.settings import BackendSettings

# Each in a module of credbroker.secrets, imported where a configuration names it: what none names costs nothing.
_CLASSES = {
    "vault": ("vault", "VaultBackend"),
    "aws_secrets_manager": ("aws", "SecretsManagerBackend"),
    "aws_ssm": ("aws", "ParameterStoreBackend"),
    "gcp": ("gcp", "SecretManagerBackend"),
    "azure": ("azure", "KeyVaultBackend"),
    "kms": ("kms", "KmsBackend"),
    "dynamodb_kms": ("kms", "DynamoKmsBackend"),
}


def resolver(platform: Platform, context: Context) -> Resolver:
    """Resolves references by ``platform.secret_backends``, in their order. It does no I/O before the first reference.

    A secret that a backend needs itself is looked for in those before it. A backend that cannot be made (a key is missing, a
    setting cannot work, an SDK or a plug-in is not installed) raises ``ConfigurationError`` when the backends before it lack
    a secret: to pass it over would be to look in places that the file puts behind it.
    """
    backends: list[Backend] = []
    names = [hashlib.sha256(repr(replace(one, where="")).encode()).hexdigest()[:16] for one in platform.secret_backends]
    for settings in platform.secret_backends:
        try:
            backends.append(_backend(settings, tuple(backends), platform.plugins))
        except ConfigurationError as error:
            backends.append(_Unusable(error.fresh()))
    return Resolver(backends, context, names)


def unusable(secrets: Secrets) -> CredbrokerError | None:
    """Why the first of the backends behind ``secrets`` that cannot be used cannot; None where all of them can."""
    backends = secrets.backends if isinstance(secrets, Resolver) else ()
    return next((backend.fault.fresh() for backend in backends if isinstance(backend, _Unusable)), None)


class _Unusable:
    """Stands where a backend should, and says why it does not: for a lease too, which is no later vault's to give."""

    def __init__(self, fault: CredbrokerError) -> None:
        self.fault = fault

    def look(self, reference: SecretReference, context: Context) -> NoReturn:
        raise self.fault.fresh()

    lease = look

    def revoke(self, lease: str, context: Context) -> bool:
        return False


def _backend(settings: BackendSettings, earlier: tuple[Backend, ...], listed: tuple[str, ...]) -> Backend:
    missing = missing_key(settings)
    if missing is not None:
        raise settings.misconfigured(f"{missing} is missing: a backend of type {settings.type!r} needs it")
    if settings.type == "env":
        return EnvBackend()
    if settings.type == "files":
        return FilesBackend(settings.path or DEFAULT_ROOT)
    if settings.type in _CLASSES:
        module, name = _CLASSES[settings.type]
        made: Backend = getattr(import_module(f"credbroker.secrets.{module}"), name)(settings, earlier)
        return made
    return plugins.load(settings, earlier, listed)
