from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.wire.expiry import corrected, in_utc, is_transient, retry_after

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zoned by timezones
travels = st.timedeltas(timedelta(), timedelta(seconds=30))
offsets = st.timedeltas(timedelta(days=-2), timedelta(days=2))
lives = st.timedeltas(SECOND, timedelta(hours=12))


def _header(server_time: datetime) -> str:
    return format_datetime(server_time.replace(microsecond=0), usegmt=True)


@pytest.mark.parametrize("stated", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-22T20:00:00"])
def test_a_time_that_is_no_instant_of_utc_is_none(stated: str) -> None:
    assert in_utc(datetime.fromisoformat(stated)) is None
    assert in_utc(stated) is None


def test_an_instant_is_told_in_utc() -> None:
    assert in_utc(datetime.fromisoformat("2026-11-22T22:00:00+02:00")) == NOW


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


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 529, 599])
def test_a_status_that_judges_nothing_is_transient(status: int) -> None:
    assert is_transient(status)


@pytest.mark.parametrize("status", [200, 204, 400, 401, 403, 404, 409, 410, 412, 418, 421, 422])
def test_a_status_that_is_an_answer_is_not(status: int) -> None:
    assert not is_transient(status)
