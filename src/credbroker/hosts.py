"""Names of hosts, and URLs that secrets may be sent to, judged by their text alone: nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Blanks are cut out of a URL without a word, backslashes read as slashes by some, and other letters turned into ASCII ones:
# the host that is checked would not be the host that is asked.
_NO_URL = re.compile(r"[^!-~]|\\")


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine."""
    if host == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# AWS: IMDS, ECS, EKS Pod Identity (and their IPv6 addresses); Google's and Azure's metadata servers share the first.
_METADATA = frozenset({"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"})


def is_metadata_service(host: str) -> bool:
    """Whether ``host`` is one of the fixed link-local addresses at which a cloud tells a machine who it is."""
    return host.lower() in _METADATA


def is_link_local(host: str) -> bool:
    """Whether ``host`` is an address of 169.254.0.0/16, which no router passes on; App Service has some."""
    from ipaddress import IPv4Address

    try:
        return IPv4Address(host).is_link_local
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


def url_fault(url: str, *, query: bool = False, plain: bool = False) -> str | None:
    """What keeps a secret from being sent to ``url``, as a text that follows a field's name; None: nothing does.

    It must be https, or http to loopback (``plain``: to any host). ``query``: it may have one.
    """
    if _NO_URL.search(url):
        return "has a blank, a backslash or a letter beyond ASCII, which no URL has"
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL: look at its host and port"
    faults = (
        ("@" in parts.netloc, "carries userinfo: leave it out, and name a secret by a secret_ref"),
        (parts.scheme not in ("https", "http") or not host, "must be an https:// URL"),
        ("#" in url or ("?" in url and not query), "has a query or fragment ('?' or '#'): leave it out"),
        (
            parts.scheme == "http" and not (plain or is_loopback(host or "")),
            "is plain http to another host, which would show the secret on the way: use https",
        ),
    )
    return next((text for wrong, text in faults if wrong), None)
