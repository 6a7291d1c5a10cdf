from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.secrets.reference import SecretReference

CANARY = "hunter2/plaintext canary"


def test_it_resolves_from_the_environment_by_its_name_in_upper_snake_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARIS_OAUTH_SECRET", "value")
    secret = SecretReference(secret_ref="polaris-oauth-secret").resolve()
    assert secret.get_secret_value() == "value"
    assert "value" not in repr(secret)


def test_a_missing_secret_names_each_place_that_was_tried() -> None:
    with pytest.raises(SecretNotFound) as caught:
        SecretReference(secret_ref="credbroker-test-absent").resolve()
    assert "'credbroker-test-absent'" in str(caught.value)
    assert "'/var/run/secrets/credbroker-test-absent'" in str(caught.value)


def test_it_is_frozen_hashable_and_pickles_as_a_name() -> None:
    reference = SecretReference(secret_ref="a", field="client_secret", next="b")
    assert pickle.loads(pickle.dumps(reference)) == reference
    assert len({reference, SecretReference(secret_ref="a", field="client_secret", next="b")}) == 1
    assert str(reference) == "a.client_secret"
    with pytest.raises(Exception, match="frozen"):
        reference.secret_ref = "c"


def test_where_it_stands_is_no_part_of_it() -> None:
    plain, placed = SecretReference(secret_ref="a", next="b"), SecretReference(secret_ref="a", next="b").placed("p.yaml:1")
    assert plain == placed
    assert hash(plain) == hash(placed)
    assert repr(plain) == repr(placed)
    assert plain.model_dump() == placed.model_dump()
    assert (plain.where, placed.where) == ("", "p.yaml:1")
    assert placed.successor is not None
    assert placed.successor.where == "p.yaml:1"
    assert plain != SecretReference(secret_ref="a")
    assert plain != "a"


def test_the_successor_is_the_second_secret_with_the_same_field() -> None:
    reference = SecretReference(secret_ref="a", field="f", next="b")
    assert reference.successor == SecretReference(secret_ref="b", field="f")
    assert SecretReference(secret_ref="a").successor is None


@pytest.mark.parametrize(
    "given",
    [
        {"secret_ref": CANARY},
        {"secret_ref": "a", "field": CANARY},
        {"secret_ref": "a", "next": CANARY},
        {"secret_ref": "a", "engine": CANARY},
        {"secret_ref": [CANARY]},
        {"secret_ref": CANARY.encode()},
        {"secret_ref": "../etc/passwd" + CANARY},
        {CANARY: None},
        {"secret_ref": "a", CANARY: CANARY},
        {"value": CANARY},
        CANARY,
        [CANARY],
        None,
    ],
)
def test_a_literal_or_illegal_name_is_refused_without_repeating_it(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SecretReference.model_validate(given)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in f"{error}{error!r}{error.args}"
        error = error.__cause__ or error.__context__
    trace = caught.value.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith("secrets/reference.py"):
            assert "canary" not in repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def test_a_model_that_holds_one_refuses_a_literal_too() -> None:
    class Resource(BaseModel):
        secret: SecretReference

    with pytest.raises(ConfigurationError, match=r"write \{secret_ref: name\}"):
        Resource.model_validate({"secret": CANARY})


@pytest.mark.parametrize("name", ["a\n", "", "-a", "_a", "a/b", "a.b", "..", "a\x00", "ä", "a" * 254])
def test_a_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(ConfigurationError):
        SecretReference(secret_ref=name)


@pytest.mark.parametrize("field", ["..", ".", "..data", "a/b", "", "a\n"])
def test_a_field_leads_nowhere_else(field: str) -> None:
    with pytest.raises(ConfigurationError):
        SecretReference(secret_ref="a", field=field)


def test_a_rotation_needs_two_secrets() -> None:
    with pytest.raises(ConfigurationError, match="same secret"):
        SecretReference(secret_ref="a", next="a")


@given(st.text())
def test_no_text_that_is_a_reference_leaves_a_directory(text: str) -> None:
    try:
        reference = SecretReference(secret_ref=text)
    except ConfigurationError:
        return
    assert not {"/", ".", "\x00", "\n"} & set(reference.secret_ref)
