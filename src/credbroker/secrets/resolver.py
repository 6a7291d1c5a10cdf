"""Resolver: asks the backends in order, afresh each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from credbroker.context import Context, Lease
from credbroker.errors import ConfigurationError, CredbrokerError, SecretNotFound
from credbroker.secrets.backend import Backend, Lessor
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.reference import SecretReference

if TYPE_CHECKING:
    from pydantic import SecretStr

_CREATE = "create it in one of these places, or correct its name"


class Resolver:
    """Resolves references through ``backends``, the first that has the secret wins. It keeps nothing.

    ``context`` is the world that they may touch; ``names`` tell one backend from another (no blanks; by default they are
    numbered), so that a lease is ended where it was given. Raises, whatever is asked: ``SecretNotFound``, which names every
    place that was tried, and what a place raised that could not tell, with the places before it.
    """

    def __init__(self, backends: Sequence[Backend], context: Context, names: Sequence[str] = ()) -> None:
        self.backends = tuple(backends)
        self._context = context.of_no_profile()
        self._names = tuple(names) or tuple(f"{index}" for index in range(len(self.backends)))

    def within(self, flight: Context) -> Resolver:
        """The same backends in the same world, within the time that is left of a flight."""
        context = replace(self._context, clock=flight.clock, remaining=flight.remaining)
        return Resolver(self.backends, context, self._names)

    def resolve(self, reference: SecretReference) -> SecretStr:
        """The secret's value now. ``reference.successor`` is a reference of its own: this never falls back to it."""
        name = _name(reference)
        if reference.engine is not None:
            raise ConfigurationError(f"{name}: 'engine: dynamic' is a lease, which serves the logins of compute only")
        tried: list[str] = []
        for backend in self.backends:
            try:
                result = backend.look(reference, self._context)
            except CredbrokerError as error:
                failure = _told(error, f"{name}: {_after(tried)}{error.message}")
            else:
                if result.secret is not None:
                    return result.secret
                tried.append(str(result))
                if result.there:
                    break
                continue
            raise failure
        if not tried:
            raise SecretNotFound(f"{name} not found: tried nothing: no backend is set")
        raise SecretNotFound(f"{name} not found: tried {', then '.join(tried)}: {_CREATE}")

    def lease(self, reference: SecretReference) -> Lease:
        """A new lease from the first backend that gives leases and knows the name."""
        name = _name(reference)
        tried: list[str] = []
        for name_of_backend, backend in zip(self._names, self.backends, strict=True):
            if not isinstance(backend, Lessor):
                continue
            try:
                result = backend.lease(reference, self._context)
            except CredbrokerError as error:
                failure = _told(error, f"{name}: {_after(tried)}{error.message}")
            else:
                if isinstance(result, Lease):
                    # Whatever a backend calls its lease, no other one is ever asked to end it by our login there.
                    return replace(result, name=f"{name_of_backend} {result.name}")
                tried.append(str(result))
                continue
            raise failure
        if not tried:
            raise ConfigurationError(f"{name}: 'engine: dynamic' needs a backend that gives leases: add one of type 'vault'")
        raise SecretNotFound(f"{name} not found: tried {', then '.join(tried)}: create the role, or correct its name")

    def revoke(self, lease: str) -> None:
        """End a lease at the vault that gave it. Raises ``ConfigurationError`` where that is no backend any more."""
        of, _, own = lease.partition(" ")
        for name, backend in zip(self._names, self.backends, strict=True):
            if name == of and isinstance(backend, Lessor) and backend.revoke(own, self._context):
                return
        raise ConfigurationError("the vault that gave this lease is not among secret_backends any more")


def found(backends: Sequence[Backend], reference: SecretReference, context: Context) -> SecretStr:
    """What ``backends`` hold: for a backend that needs a secret itself, which those before it in the list must have."""
    return Resolver(backends, context).resolve(reference)


def default_backends() -> tuple[Backend, ...]:
    """What is asked where ``secret_backends`` says nothing: the environment, then files below ``/var/run/secrets``."""
    return (EnvBackend(), FilesBackend())


def _told(error: CredbrokerError, text: str) -> CredbrokerError:
    # What a backend is logged in to with is missing: the secret that was asked for is not known to be, and a value that was
    # made of it is not to be dropped.
    return ConfigurationError(text) if isinstance(error, SecretNotFound) else error.saying(text)


def _name(reference: SecretReference) -> str:
    return f"{reference.where}: secret {str(reference)!r}" if reference.where else f"secret {str(reference)!r}"


def _after(tried: list[str]) -> str:
    return f"not in {', nor in '.join(tried)}; " if tried else ""
