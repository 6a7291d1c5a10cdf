"""The process's environment variables and the machine's files, read afresh at each call."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

LARGEST_FILE = 1024 * 1024
"""Bytes. No secret, token or platform file of honest size comes near it."""


class SystemEnvironment:
    """The real ``Environment``: it keeps nothing, so that a rotated file or a new mount is seen at once."""

    def variable(self, name: str) -> str | None:
        """The variable's value, or None."""
        before = _before.get(name, _NOT_OURS)
        return os.environ.get(name) if before is _NOT_OURS else cast("str | None", before)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        """A regular file's content. ``within`` is a directory that the file must lie in after every symbolic link.

        Raises ``OSError``: ``FileNotFoundError``; ``IsADirectoryError``; ``PermissionError`` for a file outside ``within``;
        ``EINVAL`` for what is no regular file; ``EFBIG`` over 1 MiB.
        """
        # Non-blocking, because opening a FIFO that nobody writes to would hang the caller for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            if within is not None and not _lies_within(path, within, status):
                raise PermissionError(errno.EACCES, "a symbolic link leads out of the directory", path)
            return _content(descriptor, path)
        finally:
            os.close(descriptor)

    def names(self, path: str) -> tuple[str, ...] | None:
        """What a directory holds, sorted; None where ``path`` is none. Raises ``OSError`` if it may not be listed."""
        try:
            return tuple(sorted(os.listdir(path)))  # noqa: PTH208 - names, not paths, are wanted
        except (FileNotFoundError, NotADirectoryError):
            return None


_NOT_OURS = object()
_before: dict[str, str | None] = {}
"""What the variables that we have exported were before: our own identity is not to be found where they lead."""


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this very process, and set them back. ``SystemEnvironment`` goes on without them."""
    _before.update({name: os.environ.get(name) for name in variables})
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            before = _before.get(name)
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
            _before.pop(name, None)  # last: in between nobody is to find what we had exported


def _lies_within(path: str, directory: str, opened: os.stat_result) -> bool:
    root = os.path.realpath(directory)
    real = os.path.realpath(path)
    if os.path.commonpath([root, real]) != root:
        return False
    # The file that was opened must be the one whose path was checked: a link swapped in between names another inode.
    try:
        checked = os.lstat(real)
    except OSError:
        return False
    return os.path.samestat(opened, checked)


def _content(descriptor: int, path: str) -> bytes:
    # Not by the size that stat reports: files below /proc have none, and a file may grow meanwhile.
    chunks: list[bytes] = []
    left = LARGEST_FILE + 1
    while left:
        chunk = os.read(descriptor, left)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        left -= len(chunk)
    raise OSError(errno.EFBIG, "larger than 1 MiB", path)
