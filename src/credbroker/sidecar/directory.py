"""The directory in which a sidecar and those who ask it meet: its default place, and the names of what lies there."""

from __future__ import annotations

import os
from collections.abc import Callable

DIRECTORY_VARIABLE = "CREDBROKER_SIDECAR"
"""Names the directory, for whoever looks for a sidecar."""
DESCRIPTION = "sidecar.json"
"""Where the sidecar listens and what it serves. No secret."""
SOCKET = "credbroker.sock"
STATUS_TOKEN = "status.token"  # noqa: S105 - a file's name


def token_file(binding: str) -> str:
    """The file with the token for a binding, without a newline."""
    return f"{binding}.token"


def default_directory(variable: Callable[[str], str | None], uid: int) -> str:
    """Where a sidecar of this user keeps its files if nothing is said: in memory, and in nobody else's place.

    That is below ``$XDG_RUNTIME_DIR`` (XDG Base Directory Specification: the user's own, 0700, gone at logout), where that
    is an absolute path; else below ``/dev/shm``, with the user's number in the name.
    """
    runtime = variable("XDG_RUNTIME_DIR") or ""
    return f"{runtime.rstrip('/')}/credbroker" if runtime.startswith("/") else f"/dev/shm/credbroker-{uid}"  # noqa: S108


def own_directory(variable: Callable[[str], str | None], uid: int, pid: int) -> str:
    """A directory that no other sidecar of this user has, or ever had: for one that ends with the command it serves."""
    return f"{default_directory(variable, uid)}-{pid}-{os.urandom(4).hex()}"
