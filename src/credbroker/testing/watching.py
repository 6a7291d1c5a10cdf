"""What a call does beside what it returns: what it says, and which parts of the world it touches by itself."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

from credbroker.system import log_filter

_EVENTS = {
    "socket.connect": "a socket",
    "socket.getaddrinfo": "a host's name",
    "socket.gethostbyname": "a host's name",
    "subprocess.Popen": "a process",
    "os.system": "a process",
}
_here = threading.local()  # .touched: the list of a thread that is being watched
_hooked = threading.Event()


@dataclass(slots=True)
class Seen:
    """``said`` is all that went to logs, warnings, stdout and stderr; ``touched`` what was reached for in the world."""

    said: str = field(default="", repr=False)
    touched: list[str] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Seen]:
    """Watch this thread. Modules that are imported meanwhile are read from disk, and count as nothing."""
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_hook)  # it cannot be taken away, and does nothing outside of this block
    seen = Seen()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    log_filter.install()  # as a broker does
    try:
        with redirect_stdout(stream), redirect_stderr(stream), warnings.catch_warnings(record=True) as caught, _variables():
            warnings.simplefilter("always")
            _here.touched = seen.touched
            try:
                yield seen
            finally:
                _here.touched = None
    finally:
        log_filter.uninstall()
        root.setLevel(level)
        root.removeHandler(handler)
    seen.said = "\n".join([stream.getvalue(), *(str(warning.message) for warning in caught)])


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    touched: list[str] | None = getattr(_here, "touched", None)
    if touched is None:
        return
    if event in _EVENTS:
        touched.append(_EVENTS[event])
    elif event == "open" and isinstance(arguments[0], str) and not _of_a_library(arguments[0]):
        touched.append(f"the file {arguments[0]!r}")


def _of_a_library(path: str) -> bool:
    """Code, and what packages read from beside their code."""
    full = os.path.abspath(path)
    places = (os.path.abspath(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if place)
    return full.endswith((".py", ".pyc")) or any(full.startswith(f"{place}{os.sep}") for place in places)


@contextmanager
def _variables() -> Iterator[None]:
    """Note each variable that is read past the context. Every way to ``os.environ`` goes by its ``encodekey``."""
    environ = os.environ  # noqa: TID251 - watched, not read
    encode = environ.encodekey

    def noting(key: str) -> str:  # bytes, on POSIX: the published types differ
        touched: list[str] | None = getattr(_here, "touched", None)
        if touched is not None:
            touched.append(f"the variable {key!r}")
        return encode(key)

    environ.encodekey = noting
    try:
        yield
    finally:
        environ.encodekey = encode
