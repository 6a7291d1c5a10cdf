"""The ``log`` sink: one JSON line a record, to the logger ``credbroker.audit``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping

from credbroker.errors import ConfigurationError

logger = logging.getLogger("credbroker.audit")
if logger.level == logging.NOTSET:
    # The root logger's default of WARNING would drop every record in silence.
    logger.setLevel(logging.INFO)


class LogSink:
    """Writes to the standard library's logging. A handler that raises is a record that was not written.

    ``always``: where no handler is configured at all, write to stderr instead of nowhere. (A standard handler that cannot
    write, to a full disk for one, tells logging and not its caller: for a durable record give it a handler that raises.)
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always

    def write(self, record: Mapping[str, object]) -> None:
        if not logger.isEnabledFor(logging.INFO):
            raise ConfigurationError("the logger credbroker.audit is disabled, or above INFO: set its level to INFO")
        # JSON escapes control characters: a name with a newline in it cannot forge a second record.
        line = json.dumps(record, ensure_ascii=True, separators=(",", ":"))
        if self._always and not logger.hasHandlers():
            sys.stderr.write(f"{line}\n")
        else:
            logger.info("%s", line)
