"""What a JWT says of itself: read, never believed, and nothing but JSON."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from credbroker.wire.jwt import audiences, instant, unverified_claims


def token(payload: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.sig"


def test_the_claims_are_read_whatever_the_length_of_their_encoding() -> None:
    for length in range(8):
        claims = {"sub": "x" * length, "aud": "ü"}
        assert unverified_claims(token(json.dumps(claims).encode())) == claims


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.b.c.d", "e30..sig", ".e30.sig", "e30.e30.", "e30.!!!.sig", token(b"[]"), token(b"1"), token(b"\xff"),
     token(b'{"exp": NaN}'), token(b"[" * 100_000), "e30.e30.sig.x.y"],
)  # fmt: skip
def test_anything_else_has_none(text: str) -> None:
    assert unverified_claims(text) is None


@pytest.mark.parametrize(("stated", "second"), [(0, 0), (1_800_000_000, 1_800_000_000), (1_800_000_000.9, 1_800_000_000)])
def test_a_numeric_date_is_an_instant_of_utc(stated: float, second: int) -> None:
    assert instant({"exp": stated}, "exp") == datetime.fromtimestamp(second, UTC)


@pytest.mark.parametrize("stated", [None, True, "1800000000", -1, 10**12, 1e300, float("inf"), [1], {}])
def test_what_is_no_numeric_date_is_none(stated: object) -> None:
    assert instant({"exp": stated}, "exp") is None
    assert instant({}, "exp") is None


@pytest.mark.parametrize(
    ("stated", "found"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ()), (None, ()), (1, ()), (["a", 1, None], ("a",))]
)
def test_whom_it_is_for_is_one_text_or_a_list(stated: object, found: tuple[str, ...]) -> None:
    assert audiences({"aud": stated}) == found
    assert audiences({}) == ()
