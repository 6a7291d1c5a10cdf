"""An environment whose files are texts."""

from __future__ import annotations

from collections.abc import Mapping


class Files:
    """Files by name, and no variables."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files

    def variable(self, name: str) -> str | None:
        return None

    def read(self, path: str, *, within: str | None = None) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path].encode()

    def names(self, path: str) -> tuple[str, ...] | None:
        return None
