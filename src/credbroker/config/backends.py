"""The resolver that a configuration asks for."""

from __future__ import annotations

from importlib import import_module

from credbroker.config.settings import Platform
from credbroker.context import Context
from credbroker.secrets import plugins
from credbroker.secrets.backend import Backend
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import DEFAULT_ROOT, FilesBackend
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

    A secret that a backend needs itself is looked for in those before it. Raises ``ConfigurationError`` for a backend that
    cannot be made: an SDK that is not installed, a setting that cannot work, a plug-in that is absent.
    """
    backends: list[Backend] = []
    for settings in platform.secret_backends:
        backends.append(_backend(settings, tuple(backends), platform.plugins))
    return Resolver(backends, context)


def _backend(settings: BackendSettings, earlier: tuple[Backend, ...], listed: tuple[str, ...]) -> Backend:
    if settings.type == "env":
        return EnvBackend()
    if settings.type == "files":
        return FilesBackend(settings.path or DEFAULT_ROOT)
    if settings.type in _CLASSES:
        module, name = _CLASSES[settings.type]
        made: Backend = getattr(import_module(f"credbroker.secrets.{module}"), name)(settings, earlier)
        return made
    return plugins.load(settings.type, settings.options, listed)
