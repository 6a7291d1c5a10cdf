"""When a credential ends by *our* clock, and when an issuer may be asked again: what its response headers say about time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_SECOND = timedelta(seconds=1)
_NONE = timedelta()
_DELAY = re.compile(r"[0-9]{1,9}")


def in_utc(instant: object) -> datetime | None:
    """A stated instant, in UTC; None for what is no instant, has no zone, or is none there (the years 1 and 9999)."""
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


def zulu(instant: datetime) -> str:
    """An instant as others read it, in UTC and cut off to whole seconds: ``2026-01-01T00:59:45Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def corrected(expires_at: datetime, date_header: str | None, sent: datetime, received: datetime) -> datetime:
    """An absolute expiry of the server's clock, as an instant of ours.

    The server wrote ``Date`` (RFC 9110 section 6.6.1, whole seconds, cut off) between ``sent`` and ``received``, so its
    clock leads ours by something in [Date - received, Date + 1 s - sent]. If that may be nothing, nothing is corrected: most
    clocks are right, and the interval only says how long the answer travelled. Otherwise the end of the interval that gives
    the shorter life counts, which is always the upper one. Without a readable ``Date`` nothing is corrected.
    """
    lead = _lead(date_header, sent, received)
    if lead is None or lead[0] <= _NONE <= lead[1]:
        return expires_at
    try:
        return expires_at - lead[1]
    except OverflowError:  # a Date of the year 1 or 9999 is no clock
        return expires_at


def clock_lead(date_header: str | None, sent: datetime, received: datetime) -> timedelta:
    """By how much our clock is ahead of the server's, below zero where it is behind; nothing where it may be right.

    Told from the server's ``Date`` as in ``corrected``.
    """
    lead = _lead(date_header, sent, received)
    if lead is None or lead[0] <= _NONE <= lead[1]:
        return _NONE
    return -lead[0] if lead[0] > _NONE else -lead[1]


def retry_after(header: str | None, received: datetime) -> timedelta | None:
    """How long the server asks to be left alone (RFC 9110 section 10.2.3: seconds, or a date); None if it does not say.

    A date in the past is no time at all. The value is not bounded here: what to make of it is the refresh policy's.
    """
    text = (header or "").strip()
    if _DELAY.fullmatch(text):
        return timedelta(seconds=int(text))
    date = _http_date(text)
    return None if date is None else max(_NONE, date - received)


def is_transient(status: int) -> bool:
    """Whether an answer of that status judges nothing and may be asked for again: 408, 425, 429 and every 5xx."""
    return status in (408, 425, 429) or status >= 500


def _lead(date_header: str | None, sent: datetime, received: datetime) -> tuple[timedelta, timedelta] | None:
    """Between what and what the server's clock leads ours; None without a readable ``Date``."""
    date = _http_date(date_header)
    try:
        return None if date is None else (date - received, date + _SECOND - sent)
    except OverflowError:
        return None


def _http_date(header: str | None) -> datetime | None:
    if not header:
        return None
    try:
        date = parsedate_to_datetime(header)
        # RFC 9110 section 5.6.7: every form is in UTC, also the asctime one, which does not say so.
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
