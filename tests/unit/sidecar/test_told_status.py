from __future__ import annotations

import json
from typing import Any

import pytest
from tests.servers.stub_sidecar import status_of, told

from credbroker.errors import MalformedResponse
from credbroker.sidecar.told_status import parsed


def status(*bindings: dict[str, object], **others: Any) -> bytes:
    return json.dumps(status_of(*bindings, **others)).encode()


def test_what_was_told() -> None:
    found = parsed(status(told("lake-read"), told("orders", state="absent", left=None, life=None, expires_at=None)))
    lake, orders = found.bindings
    assert (lake.name, lake.profile, lake.state, lake.ready) == ("lake-read", "lake", "fresh", True)
    assert (lake.life, lake.left, lake.expires_at) == (3585.0, 2540.5, "2026-11-23T07:00:00Z")
    assert (lake.issues_last_hour, lake.answers, lake.failures, lake.error) == (1, 1234, 0, None)
    assert (orders.ready, orders.left, orders.expires_at) == (False, None, None)
    assert found.document["pid"] == 4711


@pytest.mark.parametrize(
    ("states", "draining", "ready"),
    [
        (["fresh", "stale"], False, True),
        ([], False, True),
        (["fresh", "expired"], False, False),
        (["absent"], False, False),
        (["something new"], False, False),
        (["fresh"], True, False),
    ],
)
def test_it_is_ready_when_each_binding_holds_a_value(states: list[str], draining: bool, ready: bool) -> None:
    assert parsed(status(*(told("x", state=state) for state in states), draining=draining)).ready is ready


def test_a_refused_change_of_the_file_is_told() -> None:
    assert parsed(status(fault="platform.yaml:7: is missing")).fault == "platform.yaml:7: is missing"


@pytest.mark.parametrize(
    "change",
    [
        {"name": 7},
        {"state": None},
        {"left": "1"},
        {"left": -1},
        {"left": True},
        {"life": 1e999},
        {"answers": 1.5},
        {"answers": True},
        {"failures": None},
        {"error": ["x"]},
    ],
)
def test_what_cannot_be_shown_for_what_it_is_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedResponse, match="cannot be read"):
        parsed(status({**told("canary"), **change}))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"bindings":{}}', b"\xff canary"])
def test_so_is_what_is_no_status(body: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        parsed(body)
    assert "canary" not in str(caught.value)


def test_a_binding_without_a_field_is_none() -> None:
    entry = told("x")
    del entry["answers"]
    with pytest.raises(MalformedResponse):
        parsed(status(entry))
