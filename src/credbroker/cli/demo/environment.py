"""The environment that the demonstration's broker sees: what it is given, and nothing of the process's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

WORKERS = 2
"""PyIceberg's threads. Few, so that files are opened one after another all through the scan."""

_AMBIENT = ("AWS_", "PYICEBERG_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class GivenEnvironment:
    """An ``Environment`` of given variables and no files. So secrets stand in no argument, no file and no child process."""

    variables: Mapping[str, str] = field(repr=False)

    def variable(self, name: str) -> str | None:
        """The given variable, or None."""
        return self.variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> NoReturn:
        """Raises ``FileNotFoundError``."""
        raise FileNotFoundError(path)

    def names(self, path: str) -> None:
        """None: there is no directory."""


@contextmanager
def nothing_ambient() -> Iterator[None]:
    """Take from this process what SDKs pick up by themselves: identities, their settings, proxies between us and loopback.

    The demonstration would otherwise show what somebody's own keys can do. All is put back at the end.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith(_AMBIENT) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ.update(
        PYICEBERG_MAX_WORKERS=str(WORKERS),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
