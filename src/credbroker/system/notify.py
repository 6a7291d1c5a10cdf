"""Telling systemd how the service is, by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time

from credbroker.system.environment import SystemEnvironment

_ENVIRONMENT = SystemEnvironment()


def notify(state: str) -> None:
    """Send ``state``, lines of ``NAME=value``, to the socket that ``$NOTIFY_SOCKET`` names: a path, or ``@`` and a name
    without one (unix(7), "abstract"). Never raises or waits; without the variable it does nothing.
    """  # noqa: D205 - one sentence of two lines
    address = _ENVIRONMENT.variable("NOTIFY_SOCKET") or ""
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto(state.encode(errors="replace"), "\0" + address[1:] if address.startswith("@") else address)
    except (OSError, ValueError):
        pass  # whoever started us without listening has nothing to be told


def ready() -> None:
    """The service is up, or has ended a reload."""
    notify("READY=1")


def reloading() -> None:
    """A reload begins, and ``ready`` ends it. The instant is by the clock that systemd wants for it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The service is about to end."""
    notify("STOPPING=1")


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what systemd waits for one, as sd_watchdog_enabled(3) advises.

    None: nobody waits, or for another process.
    """
    waits = _number(_ENVIRONMENT.variable("WATCHDOG_USEC"))
    whose = _ENVIRONMENT.variable("WATCHDOG_PID")
    if not waits or (whose is not None and _number(whose) != os.getpid()):
        return None
    return waits / 2_000_000


def alive() -> None:
    """Give a sign of life, if anybody waits for one."""
    if watchdog_interval() is not None:
        notify("WATCHDOG=1")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 19 else None
