"""A watchdog: what this process has started, and has written, does not outlive it."""

from __future__ import annotations

import shutil
import subprocess

# Its standard input is a pipe whose only writer we are: it ends with this process, however that went. (A parent-death signal
# would have to be set between fork and exec, which is unsafe in a process that has threads.)
_SCRIPT = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; shift; rm -rf -- "$@"'


class Watchdog:
    """Ends the process group ``group`` and removes ``paths`` once this process is gone, unless it was called off."""

    def __init__(self, group: int, paths: list[str]) -> None:
        shell = shutil.which("sh")
        self._process = None if shell is None else self._started(shell, group, paths)

    def call_off(self) -> None:
        """Once what it watches is waited for, the process id may be another's."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    @staticmethod
    def _started(shell: str, group: int, paths: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the script is a constant, its arguments are ours
            [shell, "-c", _SCRIPT, "credbroker-demo", str(group), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
