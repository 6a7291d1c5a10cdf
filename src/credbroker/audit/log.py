"""The ``log`` sink: one JSON line a record, to the logger ``credbroker.audit``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

logger = logging.getLogger("credbroker.audit")
if logger.level == logging.NOTSET:
    # The root logger's default of WARNING would drop every record in silence.
    logger.setLevel(logging.INFO)


class LogSink:
    """Writes to the standard library's logging. A handler that raises is a record that was not written."""

    def write(self, record: Mapping[str, object]) -> None:
        # JSON escapes control characters: a name with a newline in it cannot forge a second record.
        logger.info("%s", json.dumps(record, ensure_ascii=True, separators=(",", ":")))
