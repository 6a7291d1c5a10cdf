"""Telling a program that its files have changed, by a signal or a command. A fault is given as a text, and never raised."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Sequence

from credbroker.system.folder_faults import faults_above

PATIENCE = 30.0
"""Seconds that a command may take."""
# Nothing else of our environment: it may hold secrets that we were started with.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR")
_LARGEST = 64  # bytes of a pid file


def send(name: str, pid_file: str) -> str | None:
    """Send the signal (``HUP``) to the process that the file names. What is wrong, if anything is.

    The kernel lets us signal our own user's processes only, but root all. So for root a file that another user writes names
    processes of that user alone.
    """
    try:
        _send(name, pid_file)
    except _Untold as fault:
        return f"{pid_file} {fault}"
    except (OSError, ValueError) as error:
        return f"{pid_file}: {_reason(error)}"
    return None


def run(command: Sequence[str], *, patience: float = PATIENCE) -> str | None:
    """Run a command, without a shell and without any secret in what it is given. What is wrong, if anything is.

    It is killed, and what it started in its own process group with it, if it takes longer than ``patience`` seconds.
    """
    program = command[0]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - it is the configuration's to say what is run
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{program} cannot be run: {_reason(error)}"
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"{program} did not end within {patience:g} s and was killed"
    if code == 0:
        return None
    return f"{program} ended with {code}" if code > 0 else f"{program} was ended by the signal {-code}"


class _Untold(Exception):
    """What is wrong with a pid file, as a text that follows its name."""


def _send(name: str, pid_file: str) -> None:
    pid, owner = _process(pid_file)
    # One that is ours, or root's, was named by us; unless the way to it leads through a folder of somebody else's, who could
    # have put a link to it there.
    if owner in (0, os.geteuid()) and faults_above(os.path.abspath(pid_file).rpartition("/")[0] or "/"):
        raise _Untold("lies below a folder in which others may put another file in its place")
    try:
        if owner not in (0, os.geteuid()) and os.stat(f"/proc/{pid}").st_uid != owner:  # noqa: PTH116 - a name is wanted
            raise _Untold(f"belongs to uid {owner}, and the process {pid} that it names does not")
        os.kill(pid, signal.Signals[f"SIG{name}"])
    except (ProcessLookupError, FileNotFoundError):
        raise _Untold("names a process that is not there") from None
    except PermissionError:
        raise _Untold("names a process of another user") from None


def _process(pid_file: str) -> tuple[int, int]:
    """The process that the file names, and whose the file is."""
    descriptor = os.open(pid_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Untold("is no regular file")
        if status.st_mode & stat.S_IWOTH:
            raise _Untold("is world-writable, so that anybody names whom we signal: chmod o-w")
        text = os.read(descriptor, _LARGEST).strip()
    finally:
        os.close(descriptor)
    # 0 and -1 are whole groups of processes to kill(2), and 1 is init.
    if not text.isdigit() or len(text) > 10 or int(text) <= 1:
        raise _Untold("holds no process's number")
    return int(text), status.st_uid


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "a NUL stands in it"
    return (error.strerror or type(error).__name__).lower()
