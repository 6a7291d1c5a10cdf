"""While a broker is loaded, DEBUG records of SDKs are emptied: some print whole responses (boto/botocore#2626)."""

from __future__ import annotations

import logging
import threading
from typing import Any

from credbroker.system.process import in_forked_child

_TALKATIVE = frozenset(
    {
        "aiobotocore",
        "authlib",
        "azure",
        "boto3",
        "botocore",
        "fsspec",
        "google",
        "httpx",
        "msal",
        "requests",
        "s3fs",
        "urllib3",
    }
)
_lock = threading.Lock()
_brokers = 0
_original: Any = None


def _emptied(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record: logging.LogRecord = _original(*args, **kwargs)
    # logging.makeLogRecord() makes an empty one first, without a name; what it fills in was emptied where it was logged.
    if record.name and record.levelno <= logging.DEBUG and record.name.partition(".")[0] in _TALKATIVE:
        record.msg, record.args, record.exc_info = "withheld by credbroker: it may hold a secret", (), None
    return record


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _lock = threading.Lock()


in_forked_child(_new_lock)


def install() -> None:
    """From the first broker on. A filter on a logger would not do: it does not see what the logger's children log."""
    global _brokers, _original  # noqa: PLW0603 - the record factory is the process's own
    with _lock:
        _brokers += 1
        if _brokers == 1 and logging.getLogRecordFactory() is not _emptied:
            _original = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_emptied)


def uninstall() -> None:
    """With the last broker; where somebody has put a factory over ours since, it stays."""
    global _brokers  # noqa: PLW0603
    with _lock:
        _brokers = max(0, _brokers - 1)
        if _brokers == 0 and logging.getLogRecordFactory() is _emptied:
            logging.setLogRecordFactory(_original)
