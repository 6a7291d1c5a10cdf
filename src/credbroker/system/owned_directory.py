"""Small files of a directory that another process keeps, read only where nobody else can have put them there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection


def own_uid() -> int:
    """The user that this process acts as."""
    return os.geteuid()


def read_owned(directory: str, name: str, *, owners: Collection[int], largest: int) -> bytes:
    """The content of ``directory``'s file ``name``, of at most ``largest`` bytes.

    Raises ``OSError``, its ``strerror`` a text to show: ``EPERM`` where the directory belongs to none of the ``owners`` or
    lets others write into it, so that the file may be anybody's; ``EACCES`` where this process may not read it; ``ENOENT``,
    ``ENOTDIR`` and ``ELOOP`` (a link) where it is not there; ``EINVAL`` for what is no regular file; ``EFBIG``.
    """
    # No link at the end: in /dev/shm or /tmp anybody can make one that leads elsewhere.
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # Of the open directory, and by way of it: whatever is put in its path's place in the meantime is not read.
        status = os.fstat(folder)
        if status.st_uid not in owners:
            raise OSError(errno.EPERM, f"it belongs to the user {status.st_uid}", directory)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(errno.EPERM, "others than its owner can write into it", directory)
        return _content(folder, name, largest)
    finally:
        os.close(folder)


def _content(folder: int, name: str, largest: int) -> bytes:
    # Non-blocking, because opening a FIFO that nobody writes to would hang the caller for ever.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        content = os.read(file, largest + 1)
    finally:
        os.close(file)
    if len(content) > largest:
        del content  # a traceback would keep it
        raise OSError(errno.EFBIG, f"larger than {largest} bytes", name)
    return content
