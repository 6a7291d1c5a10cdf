"""Reloading: a new configuration is tried on whatever is held, and then goes on as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from credbroker import limits, providers
from credbroker.brokerage import Brokerage, closed, key_of
from credbroker.config import from_data, load_files
from credbroker.config.backends import unusable
from credbroker.config.world import real_context
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.profiles import SECTIONS, fingerprint_of, mode_of, sections
from credbroker.providers.requirements import check_profile

if TYPE_CHECKING:
    from credbroker.config import Platform, PlatformConfig
    from credbroker.context import Context
    from credbroker.refresh.slot import Slot


def reload(brokerage: Brokerage, platform: Platform) -> None:
    """Have the brokerage go on by ``platform``.

    Raises ``BrokerClosed``, and ``ConfigurationError`` for a secret backend that cannot be made, or a changed profile that
    could not issue what is held of it: then nothing has changed. A value that the new limits do not allow is no fault.
    """
    with brokerage.reloading:
        if brokerage.closed:
            raise closed()
        before = brokerage.platform
        context = _context(brokerage, platform)
        for slot in brokerage.engine.slots():
            _try(slot, brokerage, platform)
        same_records = (platform.audit, platform.environment) == (before.audit, before.environment)
        brokerage.adopt(platform, context, brokerage.trail if same_records else brokerage.trail_of(platform))


def reload_from(brokerage: Brokerage, config: PlatformConfig | Mapping[str, Any] | None) -> None:
    """As ``reload``, by ``config`` or, for None, by the broker's own files as they are now."""
    if config is None and not brokerage.reference.paths:
        raise ConfigurationError("this broker was made from no file: give the new configuration to reload()")
    # Read within the lock: of two reloads the later one must not end with what the earlier one read.
    with brokerage.reloading:
        reload(brokerage, load_files(brokerage.reference.paths) if config is None else from_data(config))


def _context(brokerage: Brokerage, platform: Platform) -> Context:
    """The world as it is to be reached from now on. An embedder's own stays what it is."""
    before = brokerage.platform
    reached = (before.network, before.secret_backends, before.plugins)
    if not brokerage.own_context or (platform.network, platform.secret_backends, platform.plugins) == reached:
        return brokerage.context
    context = real_context(platform)
    check = getattr(context.http, "check", None)
    if check is not None:
        check()
    fault = unusable(context.secrets)
    if fault is not None:
        raise fault
    return replace(context, clock=brokerage.context.clock)


def _try(slot: Slot, brokerage: Brokerage, platform: Platform) -> None:
    """Raise ``ConfigurationError`` if the slot's profile has been changed into one that cannot issue."""
    request, fingerprint = key_of(slot)
    profile = sections(platform)[SECTIONS[request.kind]].get(request.profile)
    if profile is None or fingerprint_of(profile, platform) == fingerprint:
        return
    mode = mode_of(request, profile)
    provider = brokerage.given.get(mode) or providers.load(mode, tuple(platform.plugins))
    check_profile(profile)
    if request.base is not None:
        return  # nobody has asked for it: the new mode may have no such thing
    try:
        asked = limits.within(request, profile)
    except AccessDenied:
        return
    providers.planned(provider, asked, profile)
