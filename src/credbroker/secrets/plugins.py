"""Secret backends of other distributions: found by entry point, and only if the configuration lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from credbroker.context import Context, Lease
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable, MalformedResponse
from credbroker.secrets.backend import Backend, Lessor, Lookup

if TYPE_CHECKING:
    from credbroker.secrets.reference import SecretReference
    from credbroker.secrets.settings import BackendSettings

GROUP = "credbroker.secret_backends"
_T = TypeVar("_T")


def load(settings: BackendSettings, earlier: Sequence[Backend], plugins: tuple[str, ...]) -> Backend:
    """The backend of the entry point that ``settings.type`` names, made as a built-in one is.

    It is called with ``settings`` (``options`` holds the keys that credbroker does not know) and the backends before it in
    the list, which have the secrets that it needs itself.

    Raises ``ConfigurationError`` for one that is unlisted, absent or broken, or that two distributions claim.
    """
    from importlib.metadata import entry_points

    name = settings.type
    if name not in plugins:
        raise ConfigurationError(f"the secret backend {name!r} is not listed under 'plugins:'")
    distinct = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not distinct:
        raise ConfigurationError(
            f"the plug-in {name!r} is listed under 'plugins:' but no installed distribution provides it"
        )
    if len(distinct) > 1:
        claims = ", ".join(sorted(distinct))
        raise ConfigurationError(f"two entry points claim the secret backend {name!r} ({claims}): uninstall one")
    (entry,) = distinct.values()
    backend: object = None
    try:
        backend = entry.load()(settings, earlier)
        failure = None if callable(getattr(backend, "look", None)) else f"made {type(backend).__name__}, which has no look()"
    except ConfigurationError as error:
        raise error.fresh() from None  # its own word on what it lacks
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        failure = f"raised {type(error).__name__}"
    if failure is not None:
        raise ConfigurationError(f"the secret backend {name!r} could not be loaded: {entry.value!r} {failure}")
    return _Leasing(name, backend) if isinstance(backend, Lessor) else _Guarded(name, cast("Backend", backend))


class _Guarded:
    """A plug-in's backend, of which nothing comes through but what the seam has: a ``Lookup``, and credbroker's errors."""

    __slots__ = ("_backend", "_name")

    def __init__(self, name: str, backend: Backend) -> None:
        self._name = name
        self._backend = backend

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        result = self._asked(lambda: self._backend.look(reference, context))
        if not isinstance(result, Lookup) or not (result.secret is None or hasattr(result.secret, "get_secret_value")):
            raise self._malformed("Lookup with a SecretStr")
        return result

    def _asked(self, ask: Callable[[], _T]) -> _T:
        outcome = self._outcome(ask)
        if isinstance(outcome, CredbrokerError):
            raise outcome
        return outcome

    def _outcome(self, ask: Callable[[], _T]) -> _T | CredbrokerError:
        # Returned, and raised by the caller: a raised one would keep the plug-in's frames, and the secret in their locals.
        try:
            return ask()
        except CredbrokerError as error:
            return error.fresh()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
            return IssuerUnavailable(
                f"the secret backend {self._name!r} failed with {type(error).__name__}", retryable=False
            )

    def _malformed(self, wanted: str) -> MalformedResponse:
        return MalformedResponse(f"the secret backend {self._name!r} returned something else than a {wanted}")


class _Leasing(_Guarded):
    """The same for one that gives leases."""

    __slots__ = ()
    _backend: Lessor

    def lease(self, reference: SecretReference, context: Context) -> Lease | Lookup:
        lease = self._asked(lambda: self._backend.lease(reference, context))
        if not isinstance(lease, Lease | Lookup):
            raise self._malformed("Lease or Lookup")
        return lease

    def revoke(self, lease: str, context: Context) -> bool:
        return self._asked(lambda: self._backend.revoke(lease, context)) is True
