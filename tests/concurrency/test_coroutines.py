"""Coroutines and threads share one flight; whoever is cancelled cancels nobody else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from credbroker.errors import IssuerUnavailable
from tests.concurrency.harness import PATIENCE, Bench

REFRESH_AT = 2688.75


async def _released_when_called(bench: Bench, number: int) -> None:
    await asyncio.to_thread(bench.issuer.wait_for_calls, number)
    bench.issuer.release()


def test_ten_thousand_coroutines_and_fifty_threads_share_one_issue() -> None:
    bench = Bench()
    bench.issuer.hold()
    threads = bench.in_threads(50)

    async def main() -> list[str]:
        tasks = [asyncio.create_task(bench.aget()) for _ in range(10_000)]
        await asyncio.sleep(0)
        await _released_when_called(bench, 1)
        return list(await asyncio.gather(*tasks))

    assert set(asyncio.run(main())) == {"token-1"}
    assert {thread.result() for thread in threads} == {"token-1"}
    assert bench.issuer.calls == 1


def test_a_cancelled_coroutine_cancels_nobody() -> None:
    bench = Bench()
    bench.issuer.hold()

    async def main() -> list[str | BaseException]:
        tasks = [asyncio.create_task(bench.aget()) for _ in range(10)]
        await asyncio.to_thread(bench.issuer.wait_for_calls, 1)
        tasks[0].cancel()
        tasks[5].cancel()
        await asyncio.sleep(0)
        bench.issuer.release()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    results = asyncio.run(main())
    assert isinstance(results[0], asyncio.CancelledError)
    assert results.count("token-1") == 8
    assert bench.issuer.calls == 1


def test_two_event_loops_share_one_flight() -> None:
    bench = Bench()
    bench.issuer.hold()
    results: list[str] = []

    def run() -> None:
        results.append(asyncio.run(bench.aget()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    bench.issuer.wait_for_calls(1)
    bench.issuer.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == ["token-1", "token-1"]
    assert bench.issuer.calls == 1


def test_a_loop_that_is_closed_before_the_flight_ends_harms_nobody() -> None:
    bench = Bench()
    bench.issuer.hold()
    loop = asyncio.new_event_loop()
    task = loop.create_task(bench.aget())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    (asker,) = bench.in_threads(1)
    bench.issuer.wait_for_calls(1)
    bench.issuer.release()
    assert asker.result() == "token-1"


def test_coroutines_raise_errors_of_their_own() -> None:
    bench = Bench()
    bench.issuer.error = IssuerUnavailable("down")

    async def main() -> list[BaseException | str]:
        return list(await asyncio.gather(*(bench.aget() for _ in range(100)), return_exceptions=True))

    errors = asyncio.run(main())
    assert len({id(error) for error in errors}) == 100
    assert all(isinstance(error, IssuerUnavailable) for error in errors)
    assert bench.issuer.calls == 1


def test_a_hung_provider_ends_for_coroutines_too() -> None:
    bench = Bench()
    bench.issuer.hold()

    async def main() -> None:
        task = asyncio.create_task(bench.aget())
        await asyncio.to_thread(bench.issuer.wait_for_calls, 1)
        bench.clock.advance(10)
        bench.engine.tick()
        await task

    with pytest.raises(IssuerUnavailable, match="within 10 s"):
        asyncio.run(main())
    bench.issuer.release()


def test_a_coroutine_waits_at_a_stale_value_if_it_wants_to() -> None:
    bench = Bench()
    assert asyncio.run(bench.aget()) == "token-1"
    bench.clock.advance(REFRESH_AT)
    assert asyncio.run(bench.aget(wait=True)) == "token-2"


def test_a_coroutine_demands_life() -> None:
    bench = Bench()
    assert asyncio.run(bench.aget()) == "token-1"
    bench.clock.advance(2000)
    assert asyncio.run(bench.aget(1800.0)) == "token-2"
