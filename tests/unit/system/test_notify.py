"""What systemd hears, and that nobody minds when nobody listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from credbroker.system import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@credbroker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def test_it_hears_each_state(systemd: socket.socket) -> None:
    notify.ready()
    notify.stopping()
    assert [systemd.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


def test_it_hears_when_a_reload_began(systemd: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    notify.reloading()
    first, second = systemd.recv(100).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, instant = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(instant) <= time.monotonic_ns() // 1000


def test_it_hears_signs_of_life_if_it_waits_for_them(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    notify.alive()
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    notify.alive()
    notify.ready()
    assert [systemd.recv(100) for _ in range(2)] == [b"WATCHDOG=1", b"READY=1"]


@pytest.mark.parametrize(
    ("waits", "whose", "interval"),
    [
        ("3000000", None, 1.5),
        ("3000000", str(os.getpid()), 1.5),
        ("3000000", "1", None),
        ("3000000", "x", None),
        (None, None, None),
        ("0", None, None),
        ("", None, None),
        ("-5", None, None),
        ("9" * 5000, None, None),
    ],
)
def test_the_interval_is_half_of_what_it_waits(
    waits: str | None, whose: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", waits), ("WATCHDOG_PID", whose)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == interval


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/nowhere/at/all", "@nobody-listens", "/" + "x" * 200, "@"])
def test_where_nobody_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify.notify("READY=1") is None  # type: ignore[func-returns-value]


def test_a_full_queue_holds_nobody_up(systemd: socket.socket) -> None:
    for _ in range(2000):
        notify.ready()
    assert systemd.recv(100) == b"READY=1"
