"""The session policy against a small IAM evaluator written from the IAM user guide, not from the code it judges.

Granted is exactly what lies under an asked prefix, for each action, whatever the names contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.s3 import LONGEST_POLICY, compact, session_policy

Case = tuple[list[Location], Access, str, str]
ANY, ONE = object(), object()
READING = {"s3:GetObject", "s3:GetObjectVersion"}
WRITING = {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
NEVER = {
    "s3:PutObjectAcl",
    "s3:DeleteBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:PutBucketPolicy",
}


# --- the evaluator ----------------------------------------------------------------------------------------------------


def pattern(text: str, version: str) -> Iterator[object]:
    """IAM user guide, "IAM policy elements: Variables": ``${*} ${?} ${$}`` are literal in version 2012-10-17 only."""
    position = 0
    while position < len(text):
        if text.startswith("${", position) and version == "2012-10-17":
            end = text.index("}", position)
            name = text[position + 2 : end]
            assert name in ("*", "?", "$"), f"a variable that nobody meant: {name!r}"
            yield name
            position = end + 1
        else:
            yield {"*": ANY, "?": ONE}.get(text[position], text[position])
            position += 1


def matches(tokens: list[object], text: str) -> bool:
    """Position by position: which tokens may come next."""
    reached = {0}
    for character in [*text, None]:
        closed = set(reached)
        for start in sorted(reached):
            while start < len(tokens) and tokens[start] is ANY:
                start += 1  # noqa: PLW2901
                closed.add(start)
        if character is None:
            return len(tokens) in closed
        reached = set()
        for here in closed:
            if here == len(tokens):
                continue
            if tokens[here] is ANY:
                reached.add(here)
            elif tokens[here] is ONE or tokens[here] == character:
                reached.add(here + 1)
    raise AssertionError


def listed(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]


def allowed(policy: Mapping[str, Any], action: str, resource: str, **keys: str) -> bool:
    """Whether one statement allows it; nothing else does (an implicit denial)."""
    version = policy.get("Version", "2008-10-17")
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}
        if action not in listed(statement["Action"]):
            continue
        if not any(matches(list(pattern(arn, version)), resource) for arn in listed(statement["Resource"])):
            continue
        conditions = statement.get("Condition", {})
        assert set(conditions) <= {"StringLike"}
        if all(
            name in keys and any(matches(list(pattern(like, version)), keys[name]) for like in listed(likes))
            for name, likes in conditions.get("StringLike", {}).items()
        ):
            return True
    return False


def may(policy: Mapping[str, Any], action: str, bucket: str, key: str) -> bool:
    return allowed(policy, action, f"arn:aws:s3:::{bucket}/{key}")


def may_list(policy: Mapping[str, Any], bucket: str, prefix: str | None) -> bool:
    keys = {} if prefix is None else {"s3:prefix": prefix}
    return allowed(policy, "s3:ListBucket", f"arn:aws:s3:::{bucket}", **keys)


# --- the names --------------------------------------------------------------------------------------------------------

nasty = st.text(st.sampled_from("*?${}'\"\\%.aAb2 -_=+é\u00ffß[]()|^:,#@&~`!;<>"), min_size=1, max_size=6)
plain = st.text(st.sampled_from("ab2"), min_size=1, max_size=3)
special = st.sampled_from(
    ["${*}", "${?}", "${$}", "${aws:username}", "$", "*", "**", "?", "}", "{*}", "a*", "%2A", "$${", "${"]
)
segments = st.lists(st.one_of(nasty, plain, special), min_size=1, max_size=4)
buckets = st.sampled_from(["lake", "lake2", "pond"])


@st.composite
def locations(draw: st.DrawFn) -> Location:
    key = "/".join(draw(segments))
    try:
        Location.parse("s3://lake/" + key.replace("?", "-").replace("#", "-"))
    except ConfigurationError:
        reject()
    # "?" and "#" are refused in a URI, and escaped all the same: the policy does not lean on its caller.
    return Location("s3", draw(buckets), key)


@st.composite
def near(draw: st.DrawFn, location: Location) -> str:
    """A key that an attack would try: a sibling, a parent, or what a wildcard of the name would reach."""
    key = location.key
    other = draw(st.text(st.sampled_from("*?$ab2/{}é"), max_size=4))
    attempts = [
        f"{key}/{other}",
        f"{key}{other}",
        key.rpartition("/")[0] + "/" + other,
        f"{key.replace('*', other)}/x",
        f"{key.replace('?', 'z')}/x",
        f"{key.replace('*', '${*}').replace('?', '${?}')}/x",
        f"{key.replace('$', '')}/x",
        f"{other}/{key}/x",
        other,
    ]
    return draw(st.sampled_from(attempts))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    asked = draw(st.lists(locations(), min_size=1, max_size=4))
    bucket = draw(st.one_of(st.sampled_from([location.bucket for location in asked]), buckets))
    return asked, draw(st.sampled_from(Access)), bucket, draw(near(draw(st.sampled_from(asked))))


def under(asked: list[Location], bucket: str, key: str) -> bool:
    return any(location.bucket == bucket and key[: len(location.key) + 1] == location.key + "/" for location in asked)


# --- the properties ---------------------------------------------------------------------------------------------------


@given(cases())
@example(([Location("s3", "lake", "*")], Access.READ, "lake", "secret/x"))
@example(([Location("s3", "lake", "${*}")], Access.READ, "lake", "${x}/x"))
@example(([Location("s3", "lake", "sales")], Access.READ, "lake", "sales2/x"))
@example(([Location("s3", "lake", "a"), Location("s3", "pond", "b")], Access.READ, "lake", "b/x"))
def test_an_object_is_granted_if_and_only_if_it_lies_under_an_asked_prefix(case: Case) -> None:
    asked, access, bucket, key = case
    policy = json.loads(json.dumps(session_policy(asked, access)))
    inside = under(asked, bucket, key)
    for action in READING:
        assert may(policy, action, bucket, key) == (inside and access is not Access.WRITE)
    for action in WRITING:
        assert may(policy, action, bucket, key) == (inside and access is not Access.READ)
    for action in NEVER:
        assert not may(policy, action, bucket, key)
        assert not allowed(policy, action, f"arn:aws:s3:::{bucket}")


@given(cases())
@example(([Location("s3", "lake", "a"), Location("s3", "pond", "b")], Access.READ, "lake", "b/"))
def test_a_listing_is_granted_if_and_only_if_its_prefix_lies_under_an_asked_one(case: Case) -> None:
    asked, access, bucket, prefix = case
    policy = json.loads(json.dumps(session_policy(asked, access)))
    assert may_list(policy, bucket, prefix) == under(asked, bucket, prefix)
    assert not may_list(policy, bucket, None)
    for location in asked:
        assert may_list(policy, location.bucket, location.key + "/")
        assert not may_list(policy, location.bucket, location.key) or under(asked, location.bucket, location.key)


@given(st.lists(locations(), min_size=1, max_size=3), st.sampled_from(Access))
def test_without_the_version_the_escape_would_be_the_hole(asked: list[Location], access: Access) -> None:
    assert session_policy(asked, access)["Version"] == "2012-10-17"


def test_the_evaluator_sees_the_hole_of_the_older_version() -> None:
    """It judges by the version: a judge that did not would pass a policy that grants everything."""
    older = {**session_policy([Location("s3", "lake", "*")], Access.READ), "Version": "2008-10-17"}
    assert may(older, "s3:GetObject", "lake", "${secret}/x")


@given(st.lists(locations(), min_size=1, max_size=12), st.sampled_from(Access))
def test_the_text_is_whole_and_within_the_limit_or_an_error(asked: list[Location], access: Access) -> None:
    policy = session_policy(asked, access)
    size = len(json.dumps(policy, separators=(",", ":"), ensure_ascii=False))
    if size > LONGEST_POLICY:
        with pytest.raises(ConfigurationError) as caught:
            compact(policy, asked)
        assert str(size) in caught.value.message
        assert all(str(location) in caught.value.message for location in asked)
        return
    text = compact(policy, asked)
    assert len(text) == size
    assert json.loads(text) == policy
    assert all(" " <= character <= "\u00ff" for character in text)


@given(locations(), st.sampled_from(Access))
def test_a_store_without_escapes_gets_no_name_that_it_could_misread(location: Location, access: Access) -> None:
    if any(character in location.key for character in "$*?"):
        with pytest.raises(ConfigurationError):
            session_policy([location], access, escapes=False)
    else:
        assert session_policy([location], access, escapes=False) == session_policy([location], access)
