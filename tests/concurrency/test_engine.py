"""The rules of refreshing, one after another, with time standing still and the issuer answered by hand."""

from __future__ import annotations

import math
import threading
from datetime import timedelta

import pytest

from credbroker.errors import (
    BrokerClosed,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    SecretNotFound,
)
from credbroker.refresh.engine import Engine
from credbroker.refresh.flight import Outcome
from credbroker.refresh.refresher import Refresher
from credbroker.refresh.slot import Slot
from credbroker.refresh.workers import Workers
from tests.concurrency.harness import HOUR, PATIENCE, Bench, Issuer, token

DOWN = IssuerUnavailable("the issuer is down")
REFRESH_AT = 2688.75  # of an hour, without jitter
USABLE = 3585.0


# -- states ------------------------------------------------------------------------------------------------------------


def test_a_fresh_value_is_served_without_another_issue() -> None:
    bench = Bench()
    assert [bench.get(), bench.get()] == ["token-1", "token-1"]
    bench.clock.advance(REFRESH_AT - 0.01)
    assert (bench.get(), bench.issuer.calls) == ("token-1", 1)


def test_a_stale_value_is_served_while_one_flight_replaces_it() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.hold()
    bench.clock.advance(REFRESH_AT)
    assert [bench.get() for _ in range(20)] == ["token-1"] * 20
    bench.issuer.wait_for_calls(2)
    bench.issuer.release()
    bench.settled()
    assert (bench.get(), bench.issuer.calls) == ("token-2", 2)


def test_an_expired_value_is_never_handed_out_and_one_issue_serves_all_threads() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(USABLE)
    bench.issuer.hold()
    askers = bench.in_threads(100)
    bench.issuer.wait_for_calls(2)
    bench.issuer.release()
    assert {asker.result() for asker in askers} == {"token-2"}
    assert bench.issuer.calls == 2


def test_whoever_waits_at_a_stale_value_gets_the_new_one() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(REFRESH_AT)
    assert bench.get(wait=True) == "token-2"


def test_whoever_waits_at_a_stale_value_gets_the_held_one_if_the_refresh_fails() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(REFRESH_AT)
    bench.issuer.error = DOWN
    assert bench.get(wait=True) == "token-1"


def test_whoever_waits_at_a_stale_value_waits_no_longer_than_its_end() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.hold()
    bench.clock.advance(REFRESH_AT)
    (asker,) = bench.in_threads(1, lambda: bench.get(wait=True))
    bench.issuer.wait_for_calls(2)
    bench.clock.advance(USABLE - REFRESH_AT + 1)
    bench.issuer.release()
    assert asker.result() == "token-2"


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    bench = Bench()
    bench.get()
    for seconds in (86_400, -172_800):
        bench.clock.jump(seconds)
        assert bench.get() == "token-1"
    bench.clock.advance(USABLE)
    assert bench.get() == "token-2"


def test_time_spent_suspended_counts() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(8 * 3600)
    assert bench.get() == "token-2"


def test_a_value_that_is_over_on_arrival_is_not_stored_and_is_remembered_as_a_failure() -> None:
    bench = Bench(lifetime=0.0)
    for _ in range(3):
        with pytest.raises(InsufficientLifetime, match="over on arrival"):
            bench.get()
    assert bench.issuer.calls == 1


# -- failures ----------------------------------------------------------------------------------------------------------


def test_an_issuer_that_is_down_sees_one_call_for_a_hundred_threads() -> None:
    bench = Bench()
    bench.issuer.error = DOWN
    bench.issuer.hold()
    askers = bench.in_threads(100)
    bench.issuer.wait_for_calls(1)
    bench.issuer.release()
    for asker in askers:
        with pytest.raises(IssuerUnavailable):
            asker.result()
    with pytest.raises(IssuerUnavailable):
        bench.get()
    assert bench.issuer.calls == 1


def test_every_waiter_raises_an_error_of_its_own_without_anybody_elses_frames() -> None:
    bench = Bench()
    bench.issuer.error = DOWN
    bench.issuer.hold()
    askers = bench.in_threads(10)
    bench.issuer.wait_for_calls(1)
    bench.issuer.release()
    errors = []
    for asker in askers:
        with pytest.raises(IssuerUnavailable) as caught:
            asker.result()
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 10
    assert all(error.__cause__ is None and error.__context__ is None for error in errors)


def test_after_a_failure_with_nothing_held_the_issuer_is_asked_again_after_the_backoff() -> None:
    bench = Bench()
    bench.issuer.error = DOWN
    for calls, wait in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 15.0), (7, 15.0)):
        with pytest.raises(IssuerUnavailable):
            bench.get()
        assert bench.issuer.calls == calls
        bench.clock.advance(wait - 0.01)
        with pytest.raises(IssuerUnavailable):
            bench.get()
        assert bench.issuer.calls == calls
        bench.clock.advance(0.01)
    bench.issuer.error = None
    assert bench.get() == "token-8"


def test_a_held_value_is_served_to_its_end_and_rescheduling_never_stops() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.error = DOWN
    bench.clock.advance(REFRESH_AT)
    while bench.clock.elapsed() < 1000 + USABLE - 0.2:
        assert bench.get() == "token-1"
        bench.settled()
        bench.clock.advance(0.2)
    calls = bench.issuer.calls
    assert calls > 20
    bench.clock.advance(0.3)
    bench.issuer.error = None
    bench.clock.advance(30)
    assert bench.get() == f"token-{calls + 1}"


def test_retry_after_is_honoured_but_for_one_try_before_the_held_value_ends() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.error = IssuerUnavailable("throttled", retry_after=timedelta(seconds=800))
    bench.clock.advance(2900)
    bench.get()
    bench.settled()
    assert bench.issuer.calls == 2
    bench.clock.advance((USABLE - 2900) / 4)
    bench.get()
    bench.settled()
    assert bench.issuer.calls == 3
    bench.clock.advance((USABLE - 2900) * 3 / 4 - 1)
    assert (bench.get(), bench.issuer.calls) == ("token-1", 3)


def test_a_provider_that_raises_anything_at_all_strands_nobody() -> None:
    bench = Bench()
    bench.issuer.error = SystemExit("secret-in-the-text")
    with pytest.raises(IssuerUnavailable) as caught:
        bench.get()
    assert "SystemExit" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_flight_ends_at_its_deadline_even_if_the_provider_hangs() -> None:
    bench = Bench()
    bench.issuer.hold()
    askers = bench.in_threads(5)
    bench.issuer.wait_for_calls(1)
    bench.clock.advance(10.0)
    bench.engine.tick()
    for asker in askers:
        with pytest.raises(IssuerUnavailable, match="within 10 s"):
            asker.result()
    bench.issuer.release()
    bench.clock.advance(1.0)
    assert bench.get() == "token-2"


def test_eight_hung_providers_do_not_starve_the_next_key() -> None:
    bench = Bench()
    hung = Issuer(bench.clock)
    hung.hold()

    def ask(number: int) -> str:
        slot = bench.slot(f"hung-{number}", hung)
        value = bench.engine.get(slot, None, False, None)
        return str(value)

    askers = [bench.in_threads(1, lambda n=n: ask(n))[0] for n in range(8)]  # type: ignore[misc]
    hung.wait_for_calls(8)
    (waiting,) = bench.in_threads(1)
    bench.clock.advance(10.0)
    bench.engine.tick()
    assert waiting.result() == "token-1"
    for asker in askers:
        with pytest.raises(IssuerUnavailable):
            asker.result()
    hung.release()


# -- denials -----------------------------------------------------------------------------------------------------------


def test_a_fault_of_our_own_authentication_keeps_the_held_value() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.error = IssueDenied("invalid_client")
    bench.clock.advance(REFRESH_AT)
    for _ in range(5):
        assert bench.get() == "token-1"
        bench.settled()
        bench.clock.advance(30)
    assert bench.issuer.calls == 6


def test_a_grant_denied_twice_five_seconds_apart_withdraws_the_held_value() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.error = IssueDenied("AccessDenied", grant_denied=True)
    bench.clock.advance(REFRESH_AT)
    assert bench.get() == "token-1"
    bench.settled()
    bench.clock.advance(4.9)
    assert bench.get() == "token-1"
    bench.settled()
    bench.clock.advance(5)
    bench.get()
    bench.settled()
    with pytest.raises(IssueDenied):
        bench.get()


def test_a_static_secret_that_is_gone_at_two_rereads_is_withdrawn() -> None:
    bench = Bench(lifetime=None)
    bench.get()
    bench.issuer.error = SecretNotFound("gone")
    bench.clock.advance(60)
    assert bench.get() == "token-1"
    bench.settled()
    bench.clock.advance(30)
    assert bench.get() == "token-1"
    bench.settled()
    with pytest.raises(SecretNotFound):
        bench.get()


def test_a_static_value_is_reread_and_survives_an_issuer_that_is_down() -> None:
    bench = Bench(lifetime=None)
    bench.get()
    bench.clock.advance(60)
    bench.get()
    bench.settled()
    assert bench.get() == "token-2"
    bench.issuer.error = DOWN
    bench.clock.advance(1e6)
    assert bench.get() == "token-2"


# -- min_ttl -----------------------------------------------------------------------------------------------------------


def test_a_demand_above_the_full_life_fails_at_once_without_a_call() -> None:
    bench = Bench()
    bench.get()
    with pytest.raises(InsufficientLifetime):
        bench.get(4000.0)
    assert bench.issuer.calls == 1


def test_a_demand_above_the_life_left_waits_for_a_refresh() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(2000)
    assert bench.get(1800.0) == "token-2"
    assert bench.get() == "token-2"


def test_a_refresh_for_a_demand_that_brings_no_more_life_keeps_the_old_value_and_is_not_repeated_at_once() -> None:
    bench = Bench()
    bench.issuer.over_at = bench.clock.elapsed() + 3600
    bench.get()
    bench.clock.advance(2000)
    for _ in range(3):
        with pytest.raises(InsufficientLifetime):
            bench.get(1800.0)
    assert (bench.get(), bench.issuer.calls) == ("token-1", 2)


def test_a_demand_that_fails_leaves_the_held_value_to_others() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(2000)
    bench.issuer.error = DOWN
    with pytest.raises(IssuerUnavailable):
        bench.get(1800.0)
    assert bench.get() == "token-1"


# -- invalidate --------------------------------------------------------------------------------------------------------


def test_a_refused_value_is_dropped_and_the_next_get_issues() -> None:
    bench = Bench()
    bench.get()
    assert bench.engine.invalidate(bench.slot(), token("token-1"))
    assert bench.get() == "token-2"


def test_a_refusal_of_a_value_that_is_no_longer_the_current_one_drops_nothing() -> None:
    bench = Bench()
    bench.get()
    assert bench.engine.invalidate(bench.slot(), token("an older one"))
    assert (bench.get(), bench.issuer.calls) == ("token-1", 1)


def test_a_hundred_threads_that_see_one_refusal_cause_one_issue() -> None:
    bench = Bench()
    bench.get()

    def refused() -> str:
        bench.engine.invalidate(bench.slot(), token("token-1"))
        return bench.get()

    assert {asker.result() for asker in bench.in_threads(100, refused)} == {"token-2"}
    assert bench.issuer.calls == 2


def test_an_issuer_that_has_nothing_else_gets_its_refused_value_served_and_is_left_alone_for_a_while() -> None:
    bench = Bench()
    bench.issuer.same = "the only one"
    only = token("the only one")
    assert bench.get() == "the only one"
    allowed = []
    for second in range(400):
        if bench.engine.invalidate(bench.slot(), only):
            allowed.append(second)
        assert bench.get() == "the only one"
        bench.clock.advance(1)
    assert allowed == [0, 30, 90, 210]
    assert bench.issuer.calls == 1 + len(allowed)


def test_invalidate_does_not_clear_the_backoff() -> None:
    bench = Bench()
    bench.get()
    bench.issuer.error = DOWN
    bench.clock.advance(REFRESH_AT)
    bench.get()
    bench.settled()
    bench.engine.invalidate(bench.slot(), token("token-1"))
    with pytest.raises(IssuerUnavailable):
        bench.get()
    assert bench.issuer.calls == 2


def test_a_metadata_server_that_returns_the_same_dying_token_is_not_asked_at_every_get() -> None:
    bench = Bench()
    bench.issuer.same, bench.issuer.over_at = "cached", bench.clock.elapsed() + 3600
    bench.get()
    bench.clock.advance(REFRESH_AT)
    for _ in range(100):
        assert bench.get() == "cached"
        bench.settled()
    assert bench.issuer.calls == 2
    bench.clock.advance(USABLE - REFRESH_AT)
    bench.issuer.same, bench.issuer.over_at = None, None
    assert bench.get() == "token-3"


# -- purge, close, eviction, generations -------------------------------------------------------------------------------


def test_what_was_purged_in_flight_is_never_stored_and_its_waiters_get_the_next_one() -> None:
    bench = Bench()
    bench.issuer.hold()
    (asker,) = bench.in_threads(1)
    bench.issuer.wait_for_calls(1)
    assert bench.engine.purge(lambda slot: slot.profile == "key") == 1
    bench.issuer.wait_for_calls(2)
    bench.issuer.release()
    assert asker.result() == "token-2"
    assert bench.get() == "token-2"


def test_purge_clears_the_backoff() -> None:
    bench = Bench()
    bench.issuer.error = DOWN
    with pytest.raises(IssuerUnavailable):
        bench.get()
    bench.engine.purge(lambda _: True)
    bench.issuer.error = None
    assert bench.get() == "token-2"


def test_close_wakes_who_waits_and_issues_nothing_any_more() -> None:
    bench = Bench()
    bench.issuer.hold()
    askers = bench.in_threads(5)
    bench.issuer.wait_for_calls(1)
    bench.engine.close()
    for asker in askers:
        with pytest.raises(BrokerClosed):
            asker.result()
    bench.issuer.release()
    with pytest.raises(BrokerClosed):
        bench.get()


def test_the_store_is_bounded_and_gives_what_was_used_a_second_chance() -> None:
    bench = Bench(size=3)
    for key in ("a", "b", "c"):
        bench.get(key=key)
    bench.get(key="a")
    used, idle = bench.slot("a"), bench.slot("b")
    bench.get(key="d")
    assert used.live
    assert not idle.live
    assert idle.held[0] is None
    assert ("token-2", False) in bench.retired


def test_a_second_chance_does_not_hide_the_use_from_the_refresher() -> None:
    bench = Bench(size=1)
    bench.get(key="a")
    slot = bench.slot("a")
    slot.used, slot.used_before = False, True
    assert slot.wanted


# -- who is refreshed --------------------------------------------------------------------------------------------------


def test_a_used_value_is_refreshed_in_the_background_and_an_unused_one_is_not() -> None:
    bench = Bench()
    bench.get(key="used")
    bench.get(key="used")
    bench.get(key="idle")
    bench.clock.advance(REFRESH_AT)
    bench.engine.tick()
    bench.settled()
    assert bench.issuer.calls == 3
    assert bench.get(key="used") == "token-3"
    assert bench.retired == [("token-1", True)]


def test_a_background_refresh_that_fails_is_tried_again_by_itself() -> None:
    bench = Bench()
    bench.get()
    bench.get()
    bench.issuer.error = DOWN
    bench.clock.advance(REFRESH_AT)
    for calls in (2, 3, 4):
        bench.engine.tick()
        bench.settled()
        assert bench.issuer.calls == calls
        bench.engine.tick()
        bench.clock.advance(30)


def test_if_no_thread_can_start_a_miss_runs_inline_and_a_background_refresh_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert bench.get() == "token-1"
    bench.clock.advance(REFRESH_AT)
    assert bench.get() == "token-1"
    assert bench.get(wait=True) == "token-1"
    assert bench.issuer.calls == 1
    bench.clock.advance(USABLE)
    assert bench.get() == "token-2"


def test_a_nested_get_runs_on_the_flights_own_thread_and_steals_what_is_only_queued() -> None:
    bench = Bench()
    inner = Issuer(bench.clock)
    threads: list[str] = []

    def outer(slot: Slot, flight: object) -> object:
        threads.append(threading.current_thread().name)
        value = bench.engine.get_inline(bench.slot("inner", inner), None)
        threads.append(threading.current_thread().name)
        return bench.issuer(slot, flight) if value is not None else None  # type: ignore[arg-type]

    askers = [
        bench.in_threads(1, lambda n=n: str(bench.engine.get(bench.slot(f"outer-{n}", outer), None, False, None)))[0]  # type: ignore[misc,arg-type]
        for n in range(12)
    ]
    for asker in askers:
        assert asker.result()
    assert inner.calls == 1


def test_a_callback_that_fails_does_not_stop_the_refresh() -> None:
    bench = Bench()

    class Listener:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def refreshed(self, value: object) -> None:
            self.seen.append(repr(value))
            told.release()
            raise SystemExit("no")

        def reattach(self) -> None:
            raise AssertionError

    told = threading.Semaphore(0)
    listener = Listener()
    for key in map(str, range(10)):
        bench.engine.listen(bench.slot(key), listener)
        bench.get(key=key)
    bench.clock.advance(REFRESH_AT)
    bench.engine.tick()
    for _ in range(20):
        assert told.acquire(timeout=PATIENCE)
    assert len(listener.seen) == 20
    bench.clock.advance(USABLE)
    assert bench.get(key="0") == "token-21"


def test_a_late_word_that_a_flight_is_overdue_abandons_no_healthy_worker() -> None:
    bench = Bench()
    bench.issuer.hold()
    askers = bench.in_threads(1)
    bench.issuer.wait_for_calls(1)
    (flight,) = bench.engine._running
    bench.issuer.release()
    askers[0].result()
    bench.engine._end_if_overdue(flight, math.inf)
    assert flight.worker is not None
    assert not flight.worker.abandoned


def test_a_nested_get_at_a_stale_value_is_served_the_held_one() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(REFRESH_AT)
    bench.issuer.hold()
    value = bench.engine.get_inline(bench.slot(), None)
    assert value.value.get_secret_value() == "token-1"
    bench.issuer.wait_for_calls(2)
    bench.issuer.release()


def test_a_demand_just_below_the_full_life_is_no_storm() -> None:
    bench = Bench()
    bench.get()
    bench.clock.advance(1)
    for _ in range(50):
        bench.clock.advance(0.001)
        bench.issuer.over_at = bench.clock.elapsed() + HOUR - 1
        with pytest.raises(InsufficientLifetime):
            bench.get(USABLE - 0.5)
    assert bench.issuer.calls == 2


def test_a_success_between_two_denials_forgets_the_first() -> None:
    bench = Bench()
    bench.issuer.same, bench.issuer.over_at = "cached", bench.clock.elapsed() + HOUR
    bench.get()
    bench.clock.advance(REFRESH_AT)
    denied = IssueDenied("AccessDenied", grant_denied=True)
    for error in (denied, None, denied):
        bench.issuer.error = error
        assert bench.get() == "cached"
        bench.settled()
        bench.clock.advance(31)
    assert bench.get() == "cached"


def test_the_refreshers_list_does_not_grow_with_slots_that_are_gone() -> None:
    bench = Bench()
    engine = Engine(bench.clock, background=False)
    refresher = Refresher(engine)
    refresher._running = True  # nobody empties it
    for _ in range(20_000):
        refresher.schedule(Slot("key", load=bench.issuer), math.inf)
    assert len(refresher._due) <= 4097


def test_a_signal_handler_may_look_in_while_its_thread_holds_the_lock() -> None:
    bench = Bench()
    bench.get()
    with bench.engine._lock:
        assert len(bench.engine.slots()) == 1
        bench.engine.purge(lambda _: True)


def test_a_static_value_that_reads_the_same_again_is_no_news() -> None:
    bench = Bench(lifetime=None)
    bench.issuer.same = "fixed"
    seen: list[object] = []

    class Listener:
        def refreshed(self, value: object) -> None:
            seen.append(value)

        def reattach(self) -> None:
            raise AssertionError

    bench.engine.listen(bench.slot(), Listener())
    bench.get()
    for _ in range(3):
        bench.clock.advance(61)
        bench.engine.tick()
        bench.settled()
    assert (len(seen), bench.issuer.calls) == (1, 4)


# -- the background thread ---------------------------------------------------------------------------------------------


def test_the_refresher_goes_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    stepped = threading.Event()

    class Faulty(Engine):
        faults = 1

        def tick(self) -> None:
            if self.faults:
                self.faults -= 1
                raise CredbrokerError("once")
            stepped.set()

    engine = Faulty(bench.clock, background=False)
    refresher = Refresher(engine)
    slot = Slot("key", load=bench.issuer)
    refresher.schedule(slot, -math.inf)
    refresher.schedule(slot, math.inf)
    assert stepped.wait(PATIENCE)
    refresher.stop()
    assert "goes on" in caplog.text


def test_nothing_runs_before_the_first_get() -> None:
    before = threading.active_count()
    clock = Bench().clock
    engine = Engine(clock, background=True)
    assert threading.active_count() == before
    engine.close()


def test_an_idle_worker_does_not_keep_an_engine_alive() -> None:
    import gc
    import weakref

    bench = Bench()
    bench.get()
    engine = weakref.ref(bench.engine)
    del bench
    gc.collect()
    assert engine() is None


def test_workers_are_at_most_eight() -> None:
    workers, gate, running = Workers(), threading.Event(), []
    started = threading.Condition()

    def work(_: object) -> None:
        with started:
            running.append(threading.current_thread())
            started.notify_all()
        gate.wait(PATIENCE)

    for _ in range(20):
        assert workers.submit(work)
    with started:
        assert started.wait_for(lambda: len(running) >= 8, PATIENCE)
    assert len(running) == 8
    gate.set()
    with started:
        assert started.wait_for(lambda: len(running) == 20, PATIENCE)
    assert len(set(running)) <= 8


def test_an_outcome_shows_nothing_of_the_value() -> None:
    assert "token-1" not in repr(Outcome(value=token("token-1")))
