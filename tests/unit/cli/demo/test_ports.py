from __future__ import annotations

import socket

import pytest

from credbroker.cli.demo.ports import GRPC_OFFSET, reserved_ports


def test_reserved_ports_differ_and_are_held_with_their_twins() -> None:
    with reserved_ports(3) as ports:
        assert len({*ports, *(port + GRPC_OFFSET for port in ports)}) == 6
        for port in ports:
            for number in (port, port + GRPC_OFFSET):
                with socket.socket() as other, pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", number))


def test_after_the_block_they_are_free() -> None:
    with reserved_ports(2) as ports:
        pass
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_two_reservations_do_not_share_a_port() -> None:
    with reserved_ports(5) as first, reserved_ports(5) as second:
        assert not set(first) & set(second)


def test_a_machine_without_free_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credbroker.cli.demo.ports._TRIES", 0)
    with pytest.raises(OSError, match="no free loopback ports"), reserved_ports(1):
        pass
