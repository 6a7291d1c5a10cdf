"""Resolver: asks the backends in order, afresh each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from credbroker.context import Environment
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.secrets.backend import Backend
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.reference import SecretReference

if TYPE_CHECKING:
    from pydantic import SecretStr


class Resolver:
    """Resolves references through ``backends``, the first that has the secret wins. It keeps nothing."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)

    def resolve(self, reference: SecretReference) -> SecretStr:
        """The secret's value now.

        Raises ``SecretNotFound``, which names every place that was tried, and ``ConfigurationError`` for a backend or an
        engine that cannot be used. ``reference.successor`` is a reference of its own: this never falls back to it.
        """
        name = f"{reference.where}: secret {str(reference)!r}" if reference.where else f"secret {str(reference)!r}"
        if reference.engine is not None:
            raise ConfigurationError(f"{name}: 'engine: {reference.engine}' is not supported by this version yet")
        tried: list[str] = []
        for backend in self._backends:
            refusal: str
            try:
                result = backend.look(reference)
            except ConfigurationError as error:
                refusal = error.message
            else:
                if result.secret is not None:
                    return result.secret
                tried.append(str(result))
                continue
            raise ConfigurationError(f"{name} not found: tried {', then '.join([*tried, refusal])}")
        if not tried:
            raise SecretNotFound(f"{name} not found: tried nothing: no backend is set")
        raise SecretNotFound(
            f"{name} not found: tried {', then '.join(tried)}: create it in one of these places, or correct its name"
        )


def default_backends(environment: Environment) -> tuple[Backend, ...]:
    """What is asked where ``secret_backends`` says nothing: the environment, then files below ``/var/run/secrets``."""
    return (EnvBackend(environment), FilesBackend(environment))
