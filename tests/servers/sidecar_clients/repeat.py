"""One operation again and again, as a long job does it: a line of JSON for each, until a line comes on stdin."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable

_PAUSE = 0.25  # seconds: a dozen of these share the machine


def repeat(operation: Callable[[], object]) -> None:
    """Print ``{"ok": true}``, or ``{"ok": false, "error": text}`` where it raised; a failure ends nothing."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    while not over.wait(_PAUSE):
        try:
            operation()
        except Exception as failure:
            said = {"ok": False, "error": f"{type(failure).__name__}: {failure}"[:600]}
        else:
            said = {"ok": True}
        print(json.dumps(said), flush=True)  # noqa: T201 - to whoever started it
