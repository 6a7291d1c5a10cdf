"""What is written into a session of a role, and what STS would refuse there."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.profile import CredentialSettings, StorageProfile
from credbroker.providers._sts_session import session_name, tag_value
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.request import Access, CredentialRequest

SALES = Location.parse("s3://lake/sales")
REQUEST = CredentialRequest(kind="storage", profile="lake", locations=(SALES,), access=Access.READ)
names = st.one_of(st.none(), st.text(max_size=80))


def plan(request: CredentialRequest = REQUEST, **credentials: Any) -> object:
    block: dict[str, Any] = {
        "role_arn": "arn:aws:iam::123456789012:role/Pipe",
        "credential_source": "environment",
        **credentials,
    }
    profile = StorageProfile(
        name="lake",
        region="eu-west-1",
        locations=(SALES,),
        where="platform.yaml:7",
        credentials=CredentialSettings(mode="iam_role", **block),
    )
    return IamRoleProvider().plan(request, profile)


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        ({"source_identity": "a"}, "source_identity must be 2 to 64"),
        ({"source_identity": "a b"}, "source_identity must be 2 to 64"),
        ({"source_identity": "ana\n"}, "source_identity must be 2 to 64"),
        ({"source_identity": "x" * 65}, "source_identity must be 2 to 64"),
        ({"session_tags": {f"k{number}": "" for number in range(51)}}, "has 51 tags, and STS takes 50"),
        ({"session_tags": {"aws:team": "x"}}, "'aws:team': AWS keeps"),
        ({"session_tags": {"AWS:team": "x"}}, "'AWS:team': AWS keeps"),
        ({"session_tags": {"a*b": "x"}}, "must be 1 to 128"),
        ({"session_tags": {"": "x"}}, "must be 1 to 128"),
        ({"session_tags": {"k" * 129: "x"}}, "must be 1 to 128"),
        ({"session_tags": {"team": "x", "Team": "y"}}, "differ in case alone"),
        ({"session_tags": {"team": "x"}, "transitive_tag_keys": ("stage",)}, "transitive_tag_keys names 'stage'"),
        ({"transitive_tag_keys": ("team",)}, "transitive_tag_keys names 'team'"),
    ],
)
def test_what_sts_would_refuse_is_refused_when_the_handle_is_made(credentials: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        plan(**credentials)
    assert str(caught.value).startswith("platform.yaml:7: storage.lake.credentials.")


@given(st.text(max_size=400))
def test_a_tags_value_is_one_that_sts_takes(text: str) -> None:
    value = tag_value(text)
    assert len(value) <= 256
    assert all(unicodedata.category(character)[0] in "LZN" or character in "_.:/=+-@" for character in value)


@given(st.text(max_size=400), st.text(max_size=400))
def test_two_values_of_a_tag_never_become_one(one: str, other: str) -> None:
    assert (tag_value(one) == tag_value(other)) == (one == other)


def test_a_value_that_sts_takes_is_not_touched() -> None:
    assert tag_value("Zürich 7 = a/b+c:d@e_f.g-h") == "Zürich 7 = a/b+c:d@e_f.g-h"
    assert tag_value("") == ""
    assert tag_value("x" * 256) == "x" * 256
    assert tag_value("x" * 257).startswith("x" * 200)


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_two_sessions_never_share_a_name(
    one: tuple[str | None, str | None, str | None], other: tuple[str | None, str | None, str | None]
) -> None:
    assert (session_name(*one) == session_name(*other)) == (one == other)
    assert 2 <= len(session_name(*one)) <= 64


@pytest.mark.parametrize(
    "base",
    [
        "gcp-source",
        "arn:aws:iam::123456789012:role/Next",
        "s3:GetObject arn:aws:iam::123456789012:role/Next",
        "sts:AssumeRole *",
        "sts:AssumeRole",
    ],
)
def test_no_other_base_can_be_asked_of_a_role(base: str) -> None:
    request = CredentialRequest(kind="storage", profile="lake", base=base)
    with pytest.raises(ConfigurationError, match="the base of another role alone"):
        plan(request)
