"""The files below a path, in a stable order."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator


def files_below(path: str, *, skipped: Collection[str] = ()) -> Iterator[str]:
    """The path itself, or, of a directory, every regular file below it, sorted; no directory that is named in ``skipped``.

    Below a directory no symbolic link is followed, so a loop ends, and nothing outside is read. Raises ``OSError`` where a
    directory may not be listed.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - names, not paths, are wanted
        yield path
        return
    for folder, folders, files in os.walk(path, onerror=_raised):
        folders[:] = sorted(name for name in folders if name not in skipped)
        for name in sorted(files):
            file = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - likewise
            if not os.path.islink(file):  # noqa: PTH114 - likewise
                yield file


def _raised(error: OSError) -> None:
    raise error
