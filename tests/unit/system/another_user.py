"""Python code in a process of another user. Without root, the nearest there is: one of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

UID = 4242 if os.geteuid() == 0 else os.geteuid()

_IMPORTS = "import ctypes, json, os, socket, subprocess, sys"

# What setuid(2) takes from a process, being dumpable, one that a user starts has. Root's groups are no other user's.
BECOME = f"""
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({UID})
    os.setuid({UID})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""


@contextmanager
def another_user(code: str, *arguments: str, first: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` as the other user; ``first`` before it, as ourselves: what is imported may lie in our home."""
    with subprocess.Popen(
        [sys.executable, "-c", _IMPORTS + first + BECOME + code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
