"""A command that runs beside us, in an environment that is ours to say."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from credbroker.errors import ConfigurationError


class NotStarted(ConfigurationError):
    """The command could not be run. ``code`` is what a shell would end with: 127 where there is none, 126 otherwise."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Child:
    """A command that has been started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ended(self) -> int | None:
        """How it ended, as a shell says it: 128 and the number of the signal that killed it. None: it runs."""
        code = self._process.poll()
        return None if code is None else 128 - code if code < 0 else code

    def send(self, number: signal.Signals) -> None:
        """Pass a signal on. One that comes too late is nobody's."""
        self._process.send_signal(number)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a process hands on to those that it starts."""

    environment: Mapping[str, str] = field(repr=False)
    umask: int


def inherited() -> Inherited:
    """What this process has to hand on, as it is now."""
    umask = os.umask(0o077)
    os.umask(umask)
    return Inherited(dict(os.environ), umask)


def start(argv: Sequence[str], given: Inherited) -> Child:
    """Run a command, without a shell. Raises ``NotStarted``."""
    reason: str
    try:
        return Child(subprocess.Popen(list(argv), env=dict(given.environment), umask=given.umask))  # noqa: S603 - what the user has typed is what is run
    except FileNotFoundError:
        reason, code = "there is no such command", 127
    except PermissionError:
        reason, code = "it may not be run", 126
    except OSError as error:
        reason, code = f"it cannot be run: {(error.strerror or type(error).__name__).lower()}", 126
    except ValueError:
        reason, code = "an argument holds a NUL character", 126
    raise NotStarted(f"{argv[0]}: {reason}", code)
