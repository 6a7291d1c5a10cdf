from __future__ import annotations

import pytest

from credbroker.sidecar.guard import Rate, head_of, malformed, oversize
from credbroker.system.peer import Peer
from credbroker.testing import ManualClock

ONE, OTHER = Peer(1000, None, unix=False), Peer(1001, None, unix=False)


def test_a_peer_may_ask_so_often_and_takes_nothing_from_another() -> None:
    clock = ManualClock()
    rate = Rate(5, clock.elapsed)
    assert [rate.exceeded(ONE) for _ in range(7)] == [False] * 5 + [True] * 2
    assert not rate.exceeded(OTHER)
    clock.advance(0.41)  # two more, and what was refused cost nothing
    assert [rate.exceeded(ONE) for _ in range(3)] == [False, False, True]
    clock.advance(3600)
    assert [rate.exceeded(ONE) for _ in range(6)] == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        (b"127.0.0.1", True),
        (b"127.0.0.1:8642", True),
        (b"LOCALHOST:1", True),
        (b"[::1]", True),
        (b"[::1]:8642", True),
        (b"127.0.0.1:", False),
        (b"127.0.0.1:x", False),
        (b"127.0.0.1:123456", False),
        (b"127.0.0.2", False),
        (b"::1", False),
        (b"[::1", False),
        (b"localhost.evil.example", False),
        (b"evil.example", False),
        (b"user@127.0.0.1", False),
        (b"127.0.0.1\xe2\x80\xae", False),
        (b"", False),
    ],
)
def test_only_a_loopback_name_is_a_host(host: bytes, passes: bool) -> None:
    refusal = malformed(head_of("GET", "1.1", b"/", [(b"host", host)]))
    assert (refusal is None) is passes


@pytest.mark.parametrize(
    ("length", "passes"), [("0", True), ("16384", True), ("16385", False), ("9" * 12, False), ("-1", False), (None, False)]
)
def test_a_body_says_how_long_it_is_and_is_not_long(length: str | None, passes: bool) -> None:
    assert (oversize(length) is None) is passes
