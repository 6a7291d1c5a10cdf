"""The sidecar's endpoint inside a pipeline's own process, for clients that take no callback.

Arrow, object_store and every AWS SDK ask it again and again for as long as they live: an open file, a multipart upload and a
reader in another process outlive a rotation. Who may ask is decided as in the sidecar: loopback only, a token, this user.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from credbroker.config.settings import BindingSettings, SidecarSettings
from credbroker.config.sidecar import SERVES
from credbroker.errors import ConfigurationError
from credbroker.profile import StorageProfile
from credbroker.request import Access
from credbroker.sidecar.bindings import Binding
from credbroker.sidecar.directory import own_directory
from credbroker.sidecar.protocol import Confined
from credbroker.sidecar.running import Sidecar
from credbroker.sidecar.variables import UNSET
from credbroker.source import CredentialSource
from credbroker.system.child import inherited
from credbroker.system.environment import exported

_NAME = "local"
_exporting = threading.Lock()
_LENGTHENED = ("NO_PROXY", "no_proxy")
"""They are lists, to which loopback is added."""
_OF_STORE = {"s3": "aws-container", "gcs": "gce-metadata"}


@dataclass(frozen=True, slots=True)
class Local(Confined):
    """Where a source is served. ``environment`` may hold a token, and is not shown."""

    url: str
    environment: Mapping[str, str] = field(repr=False)
    """To start another process with: this one's, with what leads there, and without what would win over it."""


@contextmanager
def serve(source: CredentialSource[Any], *, protocol: str | None = None, export: bool = False) -> Iterator[Local]:
    """Serve ``source`` on loopback for as long as the block runs.

    ``protocol`` is one of ``sidecar.bindings.<name>.protocols``; by default that of the store that the source is for, and
    ``oauth2-token`` for a catalog's token. ``export`` sets the variables in this very process, for clients that are built in
    the block, and takes them back after it; the broker itself goes on by the environment as it was before.

    Raises ``ConfigurationError`` where no protocol serves such a source, and where ``export`` would change what somebody has
    exported already, or something is exported that would win over it; and what the source's first issue raises.
    """
    request = source.request
    settings = BindingSettings(
        name=_NAME,
        kind=request.kind,
        profile=request.profile,
        table=request.table,
        locations=request.locations,
        access=request.access or Access.READ,
        protocols=(_protocol(source, protocol),),
    )
    broker = source._broker  # noqa: SLF001
    bindings = {_NAME: Binding(settings, broker, source)}
    sidecar = Sidecar(broker, SidecarSettings(directory=own_directory(), listen_port=0, bindings={_NAME: settings}))
    with ExitStack() as stack:
        sidecar.start(bindings)
        stack.callback(sidecar.close)
        source.get()
        environment = sidecar.environment(inherited().environment)
        if export:
            with _exporting:  # of two blocks the later one finds what the earlier one has exported
                before = inherited().environment
                # Secrets that the broker issues from stay as they are, unless an SDK would take them for its own.
                _check_nothing_is_exported(before, environment, but={*_LENGTHENED, *(sidecar.own_secrets - UNSET)})
                changed = {name: text for name, text in environment.items() if before.get(name) != text}
                stack.enter_context(exported(changed))
        yield Local(f"http://{sidecar.authority}", environment)


def _protocol(source: CredentialSource[Any], named: str | None) -> str:
    """The protocol by which the source is served. Raises ``ConfigurationError``."""
    kind = _kind(source)
    fitting = [name for name, kinds in SERVES.items() if kind in kinds]
    usual = _OF_STORE.get(kind) or {"table": "aws-container", "catalog": "oauth2-token"}.get(kind)
    wanted = named or usual
    if wanted in fitting:
        return wanted
    said = "no protocol is named for it" if wanted is None else f"{wanted!r} does not serve this source"
    raise ConfigurationError(f"{said}: protocol= is one of {', '.join(fitting) or 'none'}", profile=source.request.profile)


def _kind(source: CredentialSource[Any]) -> str:
    request = source.request
    if request.kind != "storage":
        return request.kind
    profile = source._broker.profile("storage", request.profile)  # noqa: SLF001
    return profile.type if isinstance(profile, StorageProfile) else request.kind


def _check_nothing_is_exported(before: Mapping[str, str], wanted: Mapping[str, str], *, but: Collection[str]) -> None:
    # By name alone: a value may be a secret.
    in_the_way = sorted(name for name, text in before.items() if wanted.get(name) != text and name not in but)
    if in_the_way:
        raise ConfigurationError(
            f"{', '.join(in_the_way)} is exported already: unset it, or start another process with serve(...).environment"
        )
