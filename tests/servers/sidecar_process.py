"""``credbroker sidecar`` as a process of its own, for as long as a block lasts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_COMMAND = (sys.executable, "-c", "import sys; from credbroker.cli import main; sys.exit(main())", "sidecar", "--json")

Variables = Mapping[str, Mapping[str, str]]
"""By binding: the variables that the sidecar says lead there."""


@contextmanager
def sidecar(platform: Mapping[str, Any], folder: Path, variables: Mapping[str, str]) -> Iterator[Variables]:
    """Serve ``platform``, with these variables for its own identity. It ends in order, or the block fails."""
    file, errors = folder / "platform.yaml", folder / "errors"
    file.write_text(json.dumps(platform))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CREDBROKER_", "NOTIFY_"))}
    with errors.open("w") as sink:
        process = subprocess.Popen(
            [*_COMMAND, "--config", str(file)], stdout=subprocess.PIPE, stderr=sink, text=True, env={**kept, **variables}
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            said = json.loads(process.stdout.readline() or "{}")
            assert "serving" in said, (said, errors.read_text())
            bindings = said["serving"]["bindings"].items()
            yield {name: {**one["environment"], **_read(one["from_file"])} for name, one in bindings}
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, errors.read_text()
        finally:
            process.kill()
            process.wait()


def _read(from_file: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {key: value["prefix"] + Path(value["file"]).read_text() for key, value in from_file.items()}
