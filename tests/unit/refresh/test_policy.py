from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.refresh import policy
from credbroker.refresh.policy import State

unit = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("lifetime", "usable", "refresh"),
    [
        (4.0, 2.667, 2.0),
        (60.0, 58.5, 43.875),
        (900.0, 885.0, 663.75),
        (3600.0, 3585.0, 2688.75),
        (43200.0, 43185.0, 42285.0),
    ],
)
def test_the_instants_of_the_lifetimes_in_the_design(lifetime: float, usable: float, refresh: float) -> None:
    instants = policy.instants(100.0, lifetime, jitter=0.0)
    assert instants.usable_until == pytest.approx(100 + usable, abs=0.001)
    assert instants.refresh_at == pytest.approx(100 + refresh, abs=0.001)


def test_jitter_takes_up_to_a_tenth_of_the_time_ahead() -> None:
    assert policy.instants(0.0, 4.0, jitter=0.999999).refresh_at == pytest.approx(1.9333, abs=0.001)


@given(sent=st.floats(0, 1e9), lifetime=st.floats(0.01, 1e6), jitter=unit)
def test_the_states_follow_each_other_and_end_before_the_issuer_says(sent: float, lifetime: float, jitter: float) -> None:
    instants = policy.instants(sent, lifetime, jitter)
    assert sent <= instants.refresh_at <= instants.usable_until <= instants.over_at
    assert instants.state(sent - 1) is State.FRESH
    assert instants.state(instants.usable_until) is State.EXPIRED
    if instants.refresh_at < instants.usable_until:
        assert instants.state(instants.refresh_at) is State.STALE


def test_a_value_without_an_end_is_only_reread() -> None:
    instants = policy.reread_instants(10.0, 60.0)
    assert instants.state(69.9) is State.FRESH
    assert instants.state(1e9) is State.STALE
    assert instants.usable_until == math.inf


@given(failures=st.integers(1, 10_000), jitter=unit)
def test_backoff_doubles_from_one_second_to_thirty(failures: int, jitter: float) -> None:
    delay = policy.retry_delay(failures, jitter)
    full = min(30.0, 2.0 ** min(failures - 1, 10))
    assert full / 2 <= delay <= full


@given(failures=st.integers(1, 50), jitter=unit, left=st.floats(0.001, 5000))
def test_while_a_value_is_held_at_most_a_quarter_of_its_life_is_waited(failures: int, jitter: float, left: float) -> None:
    assert policy.retry_delay(failures, jitter, life_left=left) <= max(0.1, left / 4)


def test_retry_after_raises_the_delay() -> None:
    assert policy.retry_delay(1, 0.0, retry_after=20.0) == 20.0
    assert policy.retry_delay(1, 0.0, life_left=100.0, retry_after=20.0) == 20.0


def test_a_retry_after_beyond_the_held_value_leaves_one_try_before_its_end() -> None:
    assert policy.retry_delay(1, 0.0, life_left=100.0, retry_after=200.0) == 25.0
    assert policy.retry_delay(2, 0.0, life_left=75.0, retry_after=200.0, once_early=False) == 200.0


def test_an_absurd_retry_after_is_bounded() -> None:
    assert policy.retry_delay(1, 0.0, retry_after=1e9) == policy.LONGEST_RETRY_AFTER
