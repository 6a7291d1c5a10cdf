"""Sections ``cold`` and ``down``: many ask at once for a key that nobody holds. The issuer takes 100 ms; or it fails then.

Two rows are the machine's own: the least that waking a hundred threads, or ten thousand coroutines, can take here and now.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks import ours
from benchmarks.contender import Call, Contender, Get, Issuer, IssuerDownError, State
from benchmarks.report import Row, Table, Target
from benchmarks.sampling import Effort, median, nearest_rank

LATENCY = 0.1
THREADS = 100
COROUTINES = 10_000
_TARGETS = (Target("calls", "=", 1), Target("p99", "≤", 1.3))

AsyncGet = Callable[[], Awaitable[object]]
Made = tuple[AsyncGet, Callable[[], None]]
"""How to get, and how to close what was made for it."""


@dataclass(frozen=True, slots=True)
class Herd:
    """One run: how often the issuer was called, what each waited from its own start, how many got an error."""

    calls: int
    waits: list[float]
    errors: int


def cold(contenders: Sequence[Contender], effort: Effort) -> Table:
    return _table("cold", contenders, effort, down=False)


def down(contenders: Sequence[Contender], effort: Effort) -> Table:
    return _table("down", contenders, effort, down=True)


def _table(title: str, contenders: Sequence[Contender], effort: Effort, *, down: bool) -> Table:
    def in_threads(contender: Contender, repeats: int, targets: tuple[Target, ...] = ()) -> Row:
        runs = [_in_threads(contender, down=down) for _ in range(repeats)]
        return _row(f"{contender.name}, {THREADS} threads", runs, targets)

    def in_coroutines(name: str, make: Callable[[Issuer], Made], targets: tuple[Target, ...] = ()) -> Row:
        runs = [_in_coroutines(make, down=down) for _ in range(effort.repeats)]
        return _row(f"{name}, {COROUTINES:,} coroutines", runs, targets)

    # A peer that lets each thread wait for a failed issue of its own, in turn, takes ten seconds a run: it gets one.
    peers = [contender for contender in contenders if contender.needs and State.COLD in contender.states]
    rows = [
        in_threads(Contender("the least", _event, frozenset({State.COLD})), effort.repeats),
        in_threads(ours.SOURCE, effort.repeats, _TARGETS),
        in_coroutines("the least", _loop_futures),
        in_coroutines("credbroker source.aget()", _aget, _TARGETS),
        in_coroutines("asyncio.wrap_future each", _wrapped_futures),
        *(in_threads(peer, 1) for peer in peers),
    ]
    return Table(f"{title} (waits: 1 = the issuer's {LATENCY * 1e3:g} ms)", rows, title)


def _row(name: str, runs: list[Herd], targets: tuple[Target, ...]) -> Row:
    figures = {
        "calls": max(run.calls for run in runs),
        "errors": max(run.errors for run in runs),
        "p50": median([nearest_rank(run.waits, 50) for run in runs]) / LATENCY,
        "p99": median([nearest_rank(run.waits, 99) for run in runs]) / LATENCY,
        "longest": max(max(run.waits) for run in runs) / LATENCY,
    }
    return Row(name, figures, targets)


# -- threads -----------------------------------------------------------------------------------------------------------


def _in_threads(contender: Contender, *, down: bool) -> Herd:
    issuer = Issuer(LATENCY, down=down)
    call = contender.make(issuer, State.COLD)
    waits, errors = _ask_in_threads(call.function)
    call.close()
    return Herd(issuer.calls, waits, errors)


def _ask_in_threads(get: Get) -> tuple[list[float], int]:
    start = threading.Barrier(THREADS)
    waits, failed = [0.0] * THREADS, [False] * THREADS

    def ask(place: int) -> None:
        start.wait()
        began = time.perf_counter()
        try:
            get()
        except Exception:  # noqa: BLE001 - each contender has errors of its own
            failed[place] = True
        waits[place] = time.perf_counter() - began

    askers = [threading.Thread(target=ask, args=(place,)) for place in range(THREADS)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return waits, sum(failed)


def _event(issuer: Issuer, _state: State) -> Call:
    """The first thread asks the issuer, all others wait for one event."""
    first, done, failed = threading.Lock(), threading.Event(), threading.Event()

    def get() -> None:
        if first.acquire(blocking=False):
            try:
                issuer()
            except IssuerDownError:
                failed.set()
            done.set()
        done.wait()
        if failed.is_set():
            raise IssuerDownError

    return Call(get)


# -- coroutines --------------------------------------------------------------------------------------------------------


def _in_coroutines(make: Callable[[Issuer], Made], *, down: bool) -> Herd:
    issuer = Issuer(LATENCY, down=down)
    get, close = make(issuer)
    # What the peers and the sections before have loaded is no part of this: the collector leaves it alone, for all rows.
    gc.collect()
    gc.freeze()
    waits, errors = asyncio.run(_ask_in_loop(get))
    gc.unfreeze()
    close()
    return Herd(issuer.calls, waits, errors)


async def _ask_in_loop(get: AsyncGet) -> tuple[list[float], int]:
    waits: list[float] = []
    failed = 0

    async def ask() -> None:
        nonlocal failed
        began = time.perf_counter()
        try:
            await get()
        except Exception:  # noqa: BLE001 - each contender has errors of its own
            failed += 1
        waits.append(time.perf_counter() - began)

    await asyncio.gather(*(ask() for _ in range(COROUTINES)))
    return waits, failed


def _aget(issuer: Issuer) -> Made:
    broker, source = ours.source(issuer, State.COLD)
    return source.aget, broker.close


def _loop_futures(issuer: Issuer) -> Made:
    """A bare future of the loop for each coroutine, all resolved by one wake-up."""
    waiting: list[asyncio.Future[None]] = []

    def ask(loop: asyncio.AbstractEventLoop) -> None:
        try:
            issuer()
        except IssuerDownError:
            loop.call_soon_threadsafe(refuse)
        else:
            loop.call_soon_threadsafe(answer)

    def answer() -> None:
        for future in waiting:
            future.set_result(None)

    def refuse() -> None:
        for future in waiting:
            future.set_exception(IssuerDownError())

    async def get() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiting.append(future)
        if len(waiting) == 1:
            threading.Thread(target=ask, args=(loop,)).start()
        await future

    return get, _nothing


def _wrapped_futures(issuer: Issuer) -> Made:
    """The plain way to share one issue: each coroutine wraps the one thread's future for its loop."""
    shared: list[Future[str]] = []
    executor = ThreadPoolExecutor(1)

    async def get() -> object:
        if not shared:
            shared.append(executor.submit(issuer))
        return await asyncio.wrap_future(shared[0])

    return get, executor.shutdown


def _nothing() -> None:
    pass
