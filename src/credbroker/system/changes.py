"""Whether files have changed since somebody last looked."""

from __future__ import annotations

import os
from collections.abc import Iterable

_Seen = tuple[int, int, int, str]


class Changes:
    """Looks at some files. What they are when it is made counts as seen: make it before they are read, to miss no change.

    A file is another one when its time, its inode, its size or where its links lead has changed: Kubernetes exchanges the
    link to a directory, and leaves the files that it leads to with any time. One that is missing has not changed until it is
    there again, as some editors remove a file before they write it.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen = {path: _look(path) for path in paths}

    def keep(self, paths: Iterable[str]) -> None:
        """Look at these files from now on. Those that were looked at before are as they were when they were last seen."""
        self._seen = {path: self._seen[path] if path in self._seen else _look(path) for path in paths}

    def seen(self) -> bool:
        """Whether any has changed since the last call, or else since this was made."""
        changed = False
        for path, before in self._seen.items():
            now = _look(path)
            if now is not None and now != before:
                self._seen[path] = now
                changed = True
        return changed


def _look(path: str) -> _Seen | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - names, not paths, are wanted
        return status.st_mtime_ns, status.st_ino, status.st_size, os.path.realpath(path)
    except (OSError, ValueError):
        return None
