from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.wire.expiry import corrected, retry_after

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zoned by timezones
travels = st.timedeltas(timedelta(), timedelta(seconds=30))
offsets = st.timedeltas(timedelta(days=-2), timedelta(days=2))
lives = st.timedeltas(SECOND, timedelta(hours=12))


def _header(server_time: datetime) -> str:
    return format_datetime(server_time.replace(microsecond=0), usegmt=True)


def test_a_clock_that_may_be_right_is_not_corrected() -> None:
    assert corrected(NOW + HOUR, _header(NOW), NOW, NOW + SECOND) == NOW + HOUR


def test_a_server_that_is_five_minutes_ahead_ends_five_minutes_sooner_by_our_clock() -> None:
    ahead = NOW + timedelta(minutes=5)
    assert corrected(ahead + HOUR, _header(ahead), NOW, NOW + SECOND) == NOW + HOUR - SECOND


def test_a_server_that_is_five_minutes_behind_ends_later_by_our_clock_but_never_too_late() -> None:
    behind = NOW - timedelta(minutes=5)
    assert corrected(behind + HOUR, _header(behind), NOW, NOW + SECOND) == NOW + HOUR - SECOND


@pytest.mark.parametrize("header", [None, "", "yesterday", "Sun, 99 Foo 2026 25:61:00 GMT", "0", "\x00", "12"])
def test_without_a_readable_date_nothing_is_corrected(header: str | None) -> None:
    assert corrected(NOW + HOUR, header, NOW, NOW + SECOND) == NOW + HOUR


def test_a_date_beyond_the_calendar_corrects_nothing() -> None:
    end = datetime(9999, 12, 31, tzinfo=UTC)
    assert corrected(end, "Mon, 01 Jan 0001 00:00:00 GMT", NOW, NOW) == end


@pytest.mark.parametrize(
    "date", ["Sun, 22 Nov 2026 20:05:00 GMT", "Sunday, 22-Nov-26 20:05:00 GMT", "Sun Nov 22 20:05:00 2026"]
)
def test_each_form_of_an_http_date_is_read(date: str) -> None:
    assert corrected(NOW + HOUR, date, NOW, NOW) == NOW + HOUR - timedelta(minutes=5) - SECOND


@given(sent=instants, out=travels, back=travels, offset=offsets, life=lives)
def test_the_corrected_end_is_never_later_than_the_true_one(
    sent: datetime, out: timedelta, back: timedelta, offset: timedelta, life: timedelta
) -> None:
    """The server's clock leads by ``offset``; it stamps both the date and the expiry at one instant of the exchange."""
    stamped = sent + out
    received = stamped + back
    end = corrected(stamped + offset + life, _header(stamped + offset), sent, received)
    true_end = stamped + life
    # An offset that lies inside the interval cannot be told from a right clock: it is at most the travel and a second.
    assert end <= true_end + out + back + SECOND
    if abs(offset) > out + back + SECOND:
        assert true_end - (out + back + SECOND) <= end <= true_end


@given(sent=instants, travel=travels, life=lives)
def test_a_right_clock_is_never_corrected(sent: datetime, travel: timedelta, life: timedelta) -> None:
    received = sent + travel
    assert corrected(sent + life, _header(received), sent, received) == sent + life


@given(header=st.text(), expires_at=instants, sent=instants)
def test_no_header_breaks_the_reading(header: str, expires_at: datetime, sent: datetime) -> None:
    assert corrected(expires_at, header, sent, sent).tzinfo is not None
    pause = retry_after(header, sent)
    assert pause is None or pause >= timedelta()


def test_retry_after_reads_seconds() -> None:
    assert retry_after("120", NOW) == timedelta(minutes=2)
    assert retry_after(" 0 ", NOW) == timedelta()


def test_retry_after_reads_a_date() -> None:
    assert retry_after("Sun, 22 Nov 2026 20:00:30 GMT", NOW) == timedelta(seconds=30)


def test_retry_after_in_the_past_is_no_time() -> None:
    assert retry_after("Sun, 22 Nov 2026 19:00:00 GMT", NOW) == timedelta()


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1e3", "NaN", "9" * 40, "٣"])
def test_retry_after_that_cannot_be_read_says_nothing(header: str | None) -> None:
    assert retry_after(header, NOW) is None
