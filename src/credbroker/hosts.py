"""Names of hosts, judged by their text alone: nothing is looked up."""

from __future__ import annotations

from collections.abc import Sequence


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine."""
    if host == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_matches(host: str, patterns: Sequence[str]) -> bool:
    """Whether ``host`` is one of ``patterns``: an exact name, or ``*.amazonaws.com`` for any name below that one.

    Case and one trailing dot make no difference.
    """
    name = host.lower().removesuffix(".")
    for pattern in patterns:
        wanted = pattern.lower().removesuffix(".")
        if name == wanted:
            return True
        if wanted.startswith("*.") and name.endswith(wanted[1:]) and name != wanted[1:]:
            return True
    return False
