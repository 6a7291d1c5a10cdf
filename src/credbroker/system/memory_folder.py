"""The directory in memory that tokens and credential files lie in, and how they get there whole."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from contextlib import suppress

from credbroker.errors import ConfigurationError
from credbroker.system.folder_faults import faults, faults_of
from credbroker.system.process import in_forked_child

_TEMPORARY = ".credbroker-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: str, group: int | None) -> Folder:
    """The directory, made where it is not there: 0700, or with a group 0750. Files that a crash has left are removed.

    It is held by its descriptor, so that what is put in its place later changes nothing. Raises ``ConfigurationError`` that
    lists all of ``faults``, and where another process holds it.
    """
    _refuse(faults(path, group=group))
    path = os.path.normpath(path)
    parent, name = _split(path)
    try:
        above = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = _entered(above, name, path, group)
        finally:
            os.close(above)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {_reason(error)}") from None
    folder = Folder(path, group, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_left_files(descriptor)
    except OSError as error:
        folder.close()
        held = "another sidecar holds it: stop that one, or name another directory"
        reason = held if isinstance(error, BlockingIOError) else _reason(error)
        raise ConfigurationError(f"{path} cannot be used: {reason}") from None
    return folder


class Folder:
    """A directory that is held open. A forked child has none: it would keep the directory from the next sidecar."""

    def __init__(self, path: str, group: int | None, descriptor: int) -> None:
        self.path = path
        self.group = group
        self._descriptor = descriptor
        _open.add(self)

    def __repr__(self) -> str:
        return f"Folder({self.path!r}, group={self.group!r})"

    def fileno(self) -> int:
        """The directory's descriptor; -1 once it is closed."""
        return self._descriptor

    def write(self, name: str, content: bytes, *, group_readable: bool) -> None:
        """Put a file there, or another in its place, whole: a reader finds the old content or the new one, never a part.

        ``name`` may name folders on the way, which are made and checked as the directory itself was. 0600, or, where it is
        ``group_readable`` and the directory has a group, 0640 and the group's. Raises ``ConfigurationError``; whatever was
        there stays then.
        """
        fault = self._written(name, content, self.group if group_readable else None)
        del content  # an error keeps the frames that it passes
        if fault is not None:
            raise ConfigurationError(f"{self.path}/{name} cannot be written: {fault}")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises ``ConfigurationError``."""
        try:
            within, last = self._place(name, make=False)
            try:
                os.unlink(last, dir_fd=within)
            finally:
                os.close(within)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigurationError(f"{self.path}/{name} cannot be removed: {_reason(error)}") from None

    def remove_empty(self) -> None:
        """Remove the folders in it, and the directory itself, as far as nothing is left in them."""
        for _, folders, _, within in os.fwalk(".", topdown=False, dir_fd=self._descriptor):
            for name in folders:
                with suppress(OSError):
                    os.rmdir(name, dir_fd=within)
        with suppress(OSError):
            os.rmdir(self.path)  # noqa: PTH106 - names, not paths, are wanted

    def close(self) -> None:
        """Let go of the directory, and leave all that is in it. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        _open.discard(self)
        if descriptor >= 0:
            os.close(descriptor)

    def _written(self, name: str, content: bytes, group: int | None) -> str | None:
        # Returned, not raised: an error from in here would keep the frames that hold the content.
        try:
            within, last = self._place(name, make=True)
            try:
                _replace(within, last, content, group)
            finally:
                os.close(within)
        except OSError as error:
            return _reason(error)
        except ConfigurationError as error:
            return error.message
        return None

    def _place(self, name: str, *, make: bool) -> tuple[int, str]:
        """The descriptor of the folder that the file lies in, and what it is called there."""
        *folders, last = parts = name.split("/")
        if any(part in {"", ".", ".."} or part.startswith(_TEMPORARY) or "\0" in part for part in parts):
            raise OSError(errno.EINVAL, "the name must lead down from the directory, and not be one of our temporary ones")
        within, path = os.dup(self._descriptor), self.path
        for part in folders:
            above, path = within, f"{path}/{part}"
            try:
                within = _entered(above, part, path, self.group) if make else os.open(part, _DIRECTORY, dir_fd=above)
            finally:
                os.close(above)
        return within, last


_open: set[Folder] = set()


def _close_all() -> None:
    for folder in list(_open):
        folder.close()


in_forked_child(_close_all)


def _refuse(found: list[str]) -> None:
    if found:
        raise ConfigurationError("\n".join(found))


def _entered(above: int, name: str, path: str, group: int | None) -> int:
    """The descriptor of a folder, made if it is not there. Raises ``OSError``, ``ConfigurationError``."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    descriptor = os.open(name, _DIRECTORY, dir_fd=above)
    try:
        # Once more, now that it cannot be swapped any longer.
        _refuse(faults_of(path, os.fstat(descriptor), group))
        _open_to(descriptor, group, 0o700, 0o750)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _replace(within: int, name: str, content: bytes, group: int | None) -> None:
    temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, _NEW_FILE, 0o600, dir_fd=within)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            _open_to(descriptor, group, 0o600, 0o640)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Of a symbolic link at that name this replaces the link, and leaves what it leads to.
        os.replace(temporary, name, src_dir_fd=within, dst_dir_fd=within)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=within)
        raise
    os.fsync(within)


def _open_to(descriptor: int, group: int | None, alone: int, with_group: int) -> None:
    if group is not None:
        try:
            os.fchown(descriptor, -1, group)
        except PermissionError:
            remedy = "add it (in Kubernetes by supplementalGroups or fsGroup), or leave sidecar.readers.group out"
            raise ConfigurationError(f"the sidecar's user is no member of the group {group}: {remedy}") from None
    os.fchmod(descriptor, alone if group is None else with_group)  # whatever the umask made of it


def _remove_left_files(descriptor: int) -> None:
    for _, _, files, within in os.fwalk(".", dir_fd=descriptor):  # follows no link
        for name in files:
            if name.startswith(_TEMPORARY):
                os.unlink(name, dir_fd=within)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent or "/", name


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
