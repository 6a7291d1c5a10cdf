"""One of the programs in ``sidecar_clients``, which does the same operation until it is told to end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROGRAMS = Path(__file__).with_name("sidecar_clients")
_PATIENCE = 20.0


class ClientProcess:
    """Runs from its making to ``end``, with these variables and few others: no key, no file and no proxy of the caller."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._printed, self._errors = folder / "printed", folder / "errors"
        # Files, as a pipe that nobody empties would stop it.
        with self._printed.open("wb") as printed, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=errors,
                cwd=_PROGRAMS,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **environment},
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Tell it to end; after 20 s it is ended. The second time, nothing is left to do."""
        if self._process.returncode is not None and self._process.stdin is not None and self._process.stdin.closed:
            return
        try:
            self._process.communicate(b"\n", timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def operations(self) -> list[dict[str, Any]]:
        """What it said of each operation."""
        return [json.loads(line) for line in self._printed.read_text().splitlines()]

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def errors(self) -> str:
        """The end of what it complained of."""
        return self._errors.read_text(errors="replace")[-3000:]
