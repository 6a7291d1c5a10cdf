"""The directory in which a sidecar and those who ask it meet: its default place, and the names of what lies there."""

from __future__ import annotations

import os
from collections.abc import Callable

from credbroker.system.environment import SystemEnvironment

DIRECTORY_VARIABLE = "CREDBROKER_SIDECAR"
"""Names the directory, for whoever looks for a sidecar."""
DESCRIPTION = "sidecar.json"
"""Where the sidecar listens and what it serves. No secret."""
SOCKET = "credbroker.sock"
FOLDER = "files"
"""Below the directory: where bindings keep their files."""
STATUS = "status"
"""The name of the token that opens ``/status`` and ``/metrics``, and nothing else."""


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


def own_directory() -> str:
    """A directory that no other sidecar has, or ever had: for one that ends with the command, or the block, it serves."""
    return f"{default_directory(SystemEnvironment().variable, os.geteuid())}-{os.getpid()}-{os.urandom(4).hex()}"
