"""Barring other processes of the same user from this one's memory, and its memory from the disk."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys

from credbroker.errors import ConfigurationError

# linux/prctl.h
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_MOST_FILES = 8192


def harden() -> None:
    """From now on only root looks into this process, it leaves no core, and its files are its owner's alone.

    Not dumpable (PR_SET_DUMPABLE(2const)): a process of the same uid can neither attach by ptrace(2) nor read
    ``/proc/<pid>/environ``, ``mem`` or ``maps`` (proc(5)), and no core is written or piped to a handler, which
    ``RLIMIT_CORE`` alone does not prevent (core(5)). All three hold for a forked child; of a program that is run later only
    ``RLIMIT_CORE`` and the umask do. Call it before the first secret is read, and after the last setuid(2), which sets
    the flag anew.

    Raises ``ConfigurationError`` where the kernel refuses, and without Linux.
    """
    fault = _hardened()
    if fault is not None:
        raise ConfigurationError(f"the sidecar cannot protect its memory: {fault}")


def _hardened() -> str | None:
    os.umask(0o077)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        return f"RLIMIT_CORE could not be set to 0 ({error})"
    if sys.platform != "linux":
        return "barring other processes from it (PR_SET_DUMPABLE) needs Linux"
    if _prctl(_PR_SET_DUMPABLE, 0) != 0 or not is_hardened():
        return "the kernel refuses PR_SET_DUMPABLE; allow prctl(2) in the seccomp profile that the process runs under"
    return None


def open_more_files() -> None:
    """Raise the soft limit of open descriptors to the hard one: by default it is less than a sidecar's connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def is_hardened() -> bool:
    """Whether the process is not dumpable, and may leave no core."""
    if sys.platform != "linux" or _prctl(_PR_GET_DUMPABLE, 0) != 0:
        return False
    return resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def _prctl(option: int, value: int) -> int:
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3))
