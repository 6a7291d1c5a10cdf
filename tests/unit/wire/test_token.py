from __future__ import annotations

import base64
import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.credentials import AccessToken
from credbroker.errors import CredbrokerError, InsufficientLifetime, MalformedResponse
from credbroker.wire.token import is_json_object, parse_error, parse_token_response

SENT = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
CANARY = "canary-2f6b9c"


def _parse(body: bytes | dict[str, Any], default_ttl: timedelta | None = None) -> AccessToken:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(raw, sent=SENT, default_ttl=default_ttl)


def _reply(**fields: Any) -> dict[str, Any]:
    return {"access_token": CANARY, "token_type": "bearer", "expires_in": 3600, **fields}


def _jwt(claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])


def test_a_plain_reply_becomes_a_token_counted_from_before_the_request() -> None:
    token = _parse(_reply(scope="a b"))
    assert token.value.get_secret_value() == CANARY
    assert token.expires_at == SENT + timedelta(hours=1)
    assert token.scopes == {"a", "b"}
    assert token.authorization_header() == f"Bearer {CANARY}"


def test_a_reply_without_scope_states_none() -> None:
    assert _parse(_reply()).scopes == frozenset()


@pytest.mark.parametrize("stated", [3600, "3600", 3600.0, 3600.9])
def test_a_lifetime_may_be_a_number_or_a_numeric_string(stated: object) -> None:
    assert _parse(_reply(expires_in=stated)).expires_at == SENT + timedelta(hours=1)


@pytest.mark.parametrize(
    "stated",
    [
        *(
            "-1",
            "-0.5",
            '"-1"',
            "NaN",
            '"NaN"',
            "Infinity",
            "-Infinity",
            "1e400",
            "1e12",
            "1000000000000",
            '"1000000000000"',
        ),
        *("true", "[]", "{}", '""', '"1e3"', '"3600 "', '"٣"', "9" * 5000, '"' + "9" * 5000 + '"'),
    ],
)
def test_a_lifetime_that_is_no_sane_number_is_malformed(stated: str) -> None:
    body = f'{{"access_token": "{CANARY}", "token_type": "bearer", "expires_in": {stated}}}'.encode()
    with pytest.raises(MalformedResponse):
        _parse(body, timedelta(hours=1))


@pytest.mark.parametrize("stated", [0, "0", 0.5])
def test_a_lifetime_of_nothing_is_insufficient(stated: object) -> None:
    with pytest.raises(InsufficientLifetime):
        _parse(_reply(expires_in=stated))


def test_a_token_that_never_ends_by_its_issuer_is_taken() -> None:
    assert _parse(_reply(expires_in=2**31 - 1)).expires_at == SENT + timedelta(seconds=2**31 - 1)


def test_without_a_lifetime_the_token_s_own_end_counts() -> None:
    end = SENT + timedelta(minutes=10)
    reply = {"access_token": _jwt({"exp": int(end.timestamp())}), "token_type": "bearer"}
    assert _parse(reply, timedelta(hours=5)).expires_at == end


def test_the_token_s_own_end_is_corrected_by_the_issuer_s_clock() -> None:
    end = SENT + timedelta(minutes=10)
    body = json.dumps({"access_token": _jwt({"exp": int(end.timestamp())})}).encode()
    token = parse_token_response(body, sent=SENT, default_ttl=None, correct=lambda at: at - timedelta(minutes=3))
    assert token.expires_at == end - timedelta(minutes=3)


def test_a_token_whose_own_end_is_past_is_insufficient() -> None:
    with pytest.raises(InsufficientLifetime):
        _parse({"access_token": _jwt({"exp": int(SENT.timestamp()) - 1})})


@pytest.mark.parametrize("exp", [None, True, "soon", -1, 10**12, 1e300, [1]])
def test_a_token_whose_own_end_is_no_instant_has_none(exp: object) -> None:
    assert _parse({"access_token": _jwt({"exp": exp})}, timedelta(minutes=5)).expires_at == SENT + timedelta(minutes=5)


@pytest.mark.parametrize("token", ["a.b.c", "a.!!!.c", "..", "a.bm9uZQ.c", "opaque"])
def test_a_token_that_only_looks_like_a_jwt_has_no_end_of_its_own(token: str) -> None:
    assert _parse({"access_token": token}, timedelta(minutes=5)).expires_at == SENT + timedelta(minutes=5)


def test_without_any_lifetime_the_error_names_the_remedy() -> None:
    with pytest.raises(MalformedResponse, match="default_ttl"):
        _parse({"access_token": CANARY, "expires_in": None})


@pytest.mark.parametrize(
    "value", [None, "", "with space", "line\r\nX-Evil: 1", "ümlaut", "\ud800", 7, ["a"], {"a": 1}, "\x7f"]
)
def test_what_could_not_stand_in_a_header_is_no_token(value: object) -> None:
    with pytest.raises(MalformedResponse):
        _parse(_reply(access_token=value))


@pytest.mark.parametrize("kind", ["", "Bearer x", "a\r\nb", 7, None, "x" * 65])
def test_a_token_type_that_is_no_name_is_malformed(kind: object) -> None:
    with pytest.raises(MalformedResponse):
        _parse(_reply(token_type=kind))


def test_a_missing_token_type_is_bearer() -> None:
    assert _parse({"access_token": CANARY, "expires_in": 60}).token_type == "Bearer"


def test_a_granted_scope_that_cannot_be_read_is_malformed() -> None:
    with pytest.raises(MalformedResponse):
        _parse(_reply(scope=["a"]))


BOMBS = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b"<html>",
    b"[" * 500_000,
    b'{"a":' * 200_000,
    b"9" * 100_000,
    b'{"expires_in":NaN}',
]


@pytest.mark.parametrize("body", BOMBS, ids=range(len(BOMBS)))
def test_what_is_no_json_object_is_malformed_and_quick(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        _parse(body)
    assert not is_json_object(body)
    assert parse_error(body) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_errors(body: bytes) -> None:
    with pytest.raises(CredbrokerError):
        _parse(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(access_token=json_values, expires_in=json_values, token_type=json_values, scope=json_values)
def test_any_reply_is_a_sound_token_or_one_of_our_errors(**fields: Any) -> None:
    try:
        token = _parse(fields, timedelta(hours=1))
    except CredbrokerError:
        return
    assert token.expires_at is not None
    assert SENT < token.expires_at < SENT + timedelta(days=36_700)
    assert token.authorization_header().isascii()


@pytest.mark.parametrize(
    "code", ["invalid_client", "invalid_grant", "access_denied", "invalid_target", "temporarily_unavailable"]
)
def test_a_registered_error_code_is_told(code: str) -> None:
    assert parse_error(json.dumps({"error": code, "error_description": CANARY}).encode()) == code


def test_an_iceberg_catalog_s_error_is_read() -> None:
    assert parse_error(b'{"error": {"type": "invalid_client", "code": 401, "message": "no"}}') == "invalid_client"


@pytest.mark.parametrize("error", [CANARY, "", None, 7, ["invalid_client"], {"type": CANARY}, {"code": 401}])
def test_any_other_error_text_is_not_repeated(error: object) -> None:
    assert parse_error(json.dumps({"error": error}).encode()) is None


@pytest.mark.parametrize(
    "fields", [{"expires_in": -1}, {"token_type": ""}, {"scope": 7}, {"access_token": CANARY + " "}, {"expires_in": 0}]
)
def test_no_error_shows_what_was_received_nor_keeps_it_in_a_frame(fields: dict[str, Any]) -> None:
    raw = json.dumps(_reply(**fields)).encode()
    with pytest.raises(CredbrokerError) as caught:
        parse_token_response(raw, sent=SENT, default_ttl=None)
    ours = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert ours
    assert CANARY not in repr(ours) + str(caught.value)
    assert caught.value.__context__ is None
