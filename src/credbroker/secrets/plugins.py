"""Secret backends of other distributions: found by entry point, and only if the configuration lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from credbroker.errors import ConfigurationError

if TYPE_CHECKING:
    from credbroker.secrets.backend import Backend

GROUP = "credbroker.secret_backends"


def load(name: str, options: Mapping[str, object], plugins: tuple[str, ...]) -> Backend:
    """The backend of that entry point, called with ``options``: what its entry in the file says beside ``type``.

    Raises ``ConfigurationError`` for one that is unlisted, absent or broken, or that two distributions claim.
    """
    from importlib.metadata import entry_points

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
    try:
        backend: Backend = entry.load()(options)
    except ConfigurationError:
        raise  # its own word on what it lacks
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold anything
        raise ConfigurationError(
            f"the secret backend {name!r} could not be loaded: {entry.value!r} raised {type(error).__name__}"
        ) from None
    return backend
