from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.sidecar.authorization import bare_or_bearer, basic, bearer
from credbroker.sidecar.protocols import PROTOCOLS

TOKEN = "kR7_caller-token"


def _basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("header", ["Bearer kR7_caller-token", "bearer kR7_caller-token", "BEARER   kR7_caller-token"])
def test_a_bearer_is_found_in_any_case(header: str) -> None:
    assert bearer({"authorization": header}, {}) == TOKEN
    assert bare_or_bearer({"authorization": header}, {}) == TOKEN


def test_a_bare_token_is_one_only_where_clients_send_it_so() -> None:
    assert bare_or_bearer({"authorization": TOKEN}, {}) == TOKEN
    assert bearer({"authorization": TOKEN}, {}) is None


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer two words", "Bearer caf\xe9", "Bearer a\x00b", "Bearer " + "a" * 20_000],
)
def test_garbage_is_no_bearer(header: str) -> None:
    assert bearer({"authorization": header}, {}) is None


def test_no_header_is_no_token() -> None:
    assert bearer({}, {}) is None
    assert bare_or_bearer({}, {}) is None
    assert basic({}) is None


def test_basic_is_read_raw_and_form_decoded() -> None:
    assert basic(_basic("lake-read:kR7_caller-token")) == ("lake-read", TOKEN)
    assert basic(_basic("lake%2Dread:kR7%5Fcaller%2Dtoken")) == ("lake-read", TOKEN)
    assert basic(_basic(":kR7_caller-token")) == ("", TOKEN)
    assert basic(_basic("a:b:c")) == ("a", "b:c")


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic ", "Basic !!!!", "Basic YQ", "Basic YTpi caf\xe9", "Basic " + base64.b64encode(b"\xff\xfe:x").decode()],
)
def test_garbage_is_no_basic(header: str) -> None:
    assert basic({"authorization": header}) is None


def test_basic_without_a_colon_is_none() -> None:
    assert basic(_basic("lake-read")) is None


@pytest.mark.parametrize("name", list(PROTOCOLS))
@given(
    headers=st.dictionaries(st.sampled_from(["authorization", "x-identity-header"]), st.text()),
    form=st.dictionaries(st.sampled_from(["client_id", "client_secret"]), st.text()),
    scheme=st.sampled_from(["", "Bearer ", "Basic "]),
)
def test_what_is_found_can_be_compared(name: str, headers: dict[str, str], form: dict[str, str], scheme: str) -> None:
    headers = {header: scheme + text for header, text in headers.items()}
    for route in PROTOCOLS[name].routes:
        if route.token is not None:
            found = route.token(headers, form)
            assert found is None or hmac.compare_digest(found, found)  # raises TypeError for what is not ASCII
