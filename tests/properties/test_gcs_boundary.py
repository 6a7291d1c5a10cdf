"""The access boundary before an evaluator with Google's own CEL runtime: granted is exactly what lies under an asked prefix.

For each permission of an object, a listing and a bucket, whatever the names contain.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.oracles.cel import ROLES, allows, evaluated

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.gcs import LONGEST_EXPRESSION, access_boundary

READING = {"storage.objects.get"}
WRITING = {
    "storage.objects.create",
    "storage.objects.delete",
    "storage.multipartUploads.create",
    "storage.multipartUploads.abort",
    "storage.multipartUploads.listParts",
}
NEVER = {
    "storage.objects.update",
    "storage.objects.move",
    "storage.objects.getIamPolicy",
    "storage.objects.setIamPolicy",
    "storage.objects.overrideUnlockedRetention",
}
# Asked on the bucket: for a grant of the whole bucket alone.
OF_THE_BUCKET = {"storage.buckets.get", "storage.multipartUploads.list"}
NEVER_OF_THE_BUCKET = {
    "storage.buckets.delete",
    "storage.buckets.update",
    "storage.buckets.getIamPolicy",
    "storage.buckets.setIamPolicy",
    "storage.folders.rename",
    "storage.managedFolders.create",
    "storage.managedFolders.setIamPolicy",
}
READ, WRITE, READ_WRITE = Access.READ, Access.WRITE, Access.READ_WRITE


def at(*uris: str) -> list[Location]:
    return [Location.parse(uri) for uri in uris]


def sent(asked: list[Location], access: Access) -> dict[str, Any]:
    """The boundary as Google gets it: through JSON."""
    return json.loads(json.dumps(access_boundary(asked, access)))  # type: ignore[no-any-return]


def under(asked: list[Location], bucket: str, name: str) -> bool:
    return any(
        location.bucket == bucket and (not location.key or name[: len(location.key) + 1] == location.key + "/")
        for location in asked
    )


# --- the names --------------------------------------------------------------------------------------------------------

nasty = st.text(
    st.sampled_from(
        "*?${}'\"\\%`.aAb2 -_=+[]()|^:,#@&~!;<>"
        "\u00e9\u00df\u00a0e\u0301\u1112\u1161\u2028\u2029\u200b\u202e\u2060\ufeff\u2019\uff07\u0130\U0001f600\U000e0041"
    ),
    min_size=1,
    max_size=6,
)
plain = st.text(st.sampled_from("ab2"), min_size=1, max_size=3)
special = st.sampled_from(
    [
        *("')||true||('", "') || true || ('", "'||'", "\\')||(1==1)||('", "'+'", "'''", "''", "\\", "\\\\", "\\'", "\\\\'"),
        *("\\u0027", "\\x27", "\\047", "\\U00000027", "%27", "%5C", "\\n", "r'", "b'", '"""', "`", "?", "*", "**"),
        *("true", "false", "null", "in", "resource.name", "api", "$", "${*}", "{", "}", "\U0001f469\u200d\U0001f4bb"),
    ]
)
segments = st.lists(st.one_of(nasty, plain, special), min_size=1, max_size=4)
buckets = st.sampled_from(["lake", "lake2", "lake_2.example", "pond"])


@st.composite
def locations(draw: st.DrawFn) -> Location:
    bucket = draw(buckets)
    if draw(st.integers(0, 19)) == 0:
        return Location("gs", bucket, "")
    key = "/".join(draw(segments))
    try:
        Location.parse("gs://lake/" + key.replace("?", "-").replace("#", "-"))
    except ConfigurationError:
        assume(False)
    # "?" and "#" are refused in a URI, and harmless in CEL all the same: the boundary does not lean on its caller.
    return Location("gs", bucket, key)


@st.composite
def near(draw: st.DrawFn, location: Location) -> str:
    """A name that an attack would try: a sibling, a parent, or what another reading of the key would reach."""
    key = location.key
    other = draw(st.text(st.sampled_from("'\\ab2/*.)|\u0301e\u00e9"), max_size=4))
    attempts = [
        f"{key}/{other}",
        f"{key}{other}",
        key,
        f"{key.rpartition('/')[0]}/{other}",
        f"{key.replace(chr(39), '')}/x",
        f"{key.partition(chr(39))[0]}{other}",
        f"{key.replace(chr(92), '')}/x",
        f"{key.replace(chr(39), chr(92) + 'u0027')}/x",
        f"{key.encode('ascii', 'ignore').decode()}/x",
        f"{unicodedata.normalize('NFC', key)}/x",
        f"{unicodedata.normalize('NFKD', key)}/x",
        f"{key.casefold()}/x",
        f"{key}\u0301/x",
        f"{other}/{key}/x",
        other,
        f"projects/_/buckets/{location.bucket}/objects/{key}/x",
    ]
    return draw(st.sampled_from(attempts))


Case = tuple[list[Location], Access, str, str]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    asked = draw(st.lists(locations(), min_size=1, max_size=4))
    bucket = draw(st.one_of(st.sampled_from([location.bucket for location in asked]), buckets))
    return asked, draw(st.sampled_from(Access)), bucket, draw(near(draw(st.sampled_from(asked))))


# --- the properties ---------------------------------------------------------------------------------------------------


@given(cases())
@example((at("gs://lake/sales"), READ, "lake", "sales2/x"))
@example((at("gs://lake/a", "gs://pond/b"), READ, "lake", "b/x"))
@example(([Location("gs", "lake", "')||true||('")], READ_WRITE, "lake", "secret/x"))
@example(([Location("gs", "lake", "a\\")], READ, "lake", "a/x"))
@example((at("gs://lake/e\u0301"), READ, "lake", "\u00e9/x"))
@example((at("gs://lake/"), WRITE, "lake2", "x"))
def test_an_object_is_granted_if_and_only_if_it_lies_under_an_asked_prefix(case: Case) -> None:
    asked, access, bucket, name = case
    boundary = sent(asked, access)
    inside = under(asked, bucket, name)
    for permission in READING:
        assert allows(boundary, permission, bucket, name) == (inside and access is not WRITE)
    for permission in WRITING:
        assert allows(boundary, permission, bucket, name) == (inside and access is not READ)
    for permission in NEVER:
        assert not allows(boundary, permission, bucket, name)


@given(cases())
@example((at("gs://lake/sales"), READ, "lake", "sales"))
@example((at("gs://lake/a", "gs://pond/b"), WRITE, "lake", "b/"))
@example(([Location("gs", "lake", "')||true||('")], READ, "lake", ""))
@example((at("gs://lake/", "gs://pond/b"), READ, "lake", ""))
def test_a_listing_is_granted_if_and_only_if_its_prefix_lies_under_an_asked_one(case: Case) -> None:
    asked, access, bucket, prefix = case
    boundary = sent(asked, access)
    assert allows(boundary, "storage.objects.list", bucket, prefix) == under(asked, bucket, prefix)
    whole = Location("gs", bucket, "") in asked
    assert allows(boundary, "storage.objects.list", bucket) == whole
    for permission in OF_THE_BUCKET:
        assert allows(boundary, permission, bucket) == whole
    for permission in NEVER_OF_THE_BUCKET:
        assert not allows(boundary, permission, bucket)
    for location in asked:
        assert allows(boundary, "storage.objects.list", location.bucket, location.prefix)
        assert allows(boundary, "storage.objects.list", location.bucket, location.key) == under(
            asked, location.bucket, location.key
        )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.text(max_size=3))
@example("\n", "")
@example("\x00", "")
@example("\u2028", "")
@example("\r\n\x85'", "")
@example("\U0010ffff\uffff", "")
def test_any_text_at_all_is_one_literal_of_exactly_that_text(key: str, other: str) -> None:
    """Also what no location may hold: the boundary does not lean on the parse before it."""
    assume(not other or unicodedata.category(other[0]) != "Cs")
    for rule in sent([Location("gs", "lake", key)], READ)["accessBoundary"]["accessBoundaryRules"]:
        head, literal = rule["availabilityCondition"]["expression"].rsplit("startsWith(", 1)
        read = evaluated(literal.removesuffix(")"))
        assert read == ("projects/_/buckets/lake/objects/" if head == "resource.name." else "") + key + "/"
        assert literal.count("'") == 2


@given(st.lists(locations(), min_size=1, max_size=12), st.sampled_from(Access))
def test_the_boundary_is_whole_and_within_the_limits_or_an_error(asked: list[Location], access: Access) -> None:
    try:
        boundary = sent(asked, access)
    except ConfigurationError as error:
        assert str(LONGEST_EXPRESSION) in error.message  # noqa: PT017
        assert any(str(location) in error.message for location in asked)  # noqa: PT017
        return
    for rule in boundary["accessBoundary"]["accessBoundaryRules"]:
        expression = rule.get("availabilityCondition", {"expression": "true"})["expression"]
        assert len(expression.encode()) <= LONGEST_EXPRESSION
        assert all(" " <= character <= "~" for character in expression)
    assert all(allows(boundary, "storage.objects.list", location.bucket, location.prefix) for location in asked)


# --- the known attacks ------------------------------------------------------------------------------------------------


def naive(bucket: str, path: str, quote: str = "'") -> dict[str, Any]:
    """What was written before the fixes: the raw path inside a literal, without a slash at its end."""
    objects = f"resource.name.startsWith({quote}projects/_/buckets/{bucket}/objects/{path}{quote})"
    listing = f"api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith({quote}{path}{quote})"
    rule = {
        "availableResource": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        "availablePermissions": ["inRole:roles/storage.objectAdmin"],
        "availabilityCondition": {"expression": f"{objects} || {listing}"},
    }
    return {"accessBoundary": {"accessBoundaryRules": [rule]}}


ATTACKS = [
    # A quote ends the literal, and the rest of the name is the condition.
    pytest.param("team/x') || ('1'=='1", "secret/x", "'", id="CVE-2026-42811: a quote breaks out of the string"),
    pytest.param("x')||true||resource.name.startsWith('", "secret/x", "'", id="CVE-2026-42811: an alternative that is true"),
    pytest.param("team/x') || ('1'=='1", "other/x", "'", id="unitycatalog#1715: the same, seen there"),
    pytest.param('team/x") || ("1"=="1', "other/x", '"', id="unitycatalog#1721: its double quotes, without their escape"),
    # A backslash takes the quote that should end the literal for its own, or names a character by its number.
    pytest.param("a\\u002fb", "a/b/x", "'", id="an escape in the name is read as another name"),
    # startsWith without the slash.
    pytest.param("db/tbl", "db/tbl2/x", "'", id="polaris#4884: a sibling with the same beginning"),
    pytest.param("db/tbl", "db/tbl-secret/x", "'", id="polaris#4884: another"),
    pytest.param("tbl", "tbl2", "'", id="unitycatalog, as it stood: the missing slash"),
]


@pytest.mark.parametrize(("path", "reached", "quote"), ATTACKS)
def test_each_known_attack_works_on_the_naive_boundary_and_not_on_this_one(path: str, reached: str, quote: str) -> None:
    """The first half judges the judge: one that saw no hole there would prove nothing here."""
    assert allows(naive("lake", path, quote), "storage.objects.get", "lake", reached)
    boundary = sent([Location.parse(f"gs://lake/{path}")], READ_WRITE)
    for permission in READING | WRITING:
        assert not allows(boundary, permission, "lake", reached)
        assert allows(boundary, permission, "lake", f"{path}/x")
    assert allows(naive("lake", path, quote), "storage.objects.list", "lake", reached)
    assert not allows(boundary, "storage.objects.list", "lake", reached)
    assert not allows(boundary, "storage.objects.list", "lake")


def test_the_judge_stops_at_what_is_no_condition_at_all() -> None:
    """A quote alone makes no hole but no CEL either: a judge that took that for a refusal would not tell them apart."""
    with pytest.raises(RuntimeError, match="Syntax error"):
        allows(naive("lake", "o'brien"), "storage.objects.get", "lake", "x")
    with pytest.raises(RuntimeError, match="no matching overload"):
        allows(naive("lake", "x') + string('"), "storage.objects.get", "lake", "x")
    boundary = naive("lake", "x")
    for expression in ("resource.name", "1 / 0 == 1"):
        boundary["accessBoundary"]["accessBoundaryRules"][0]["availabilityCondition"]["expression"] = expression
        with pytest.raises(AssertionError):
            allows(boundary, "storage.objects.get", "lake", "x")


def test_no_other_role_lists_or_writes_without_reading() -> None:
    """Why the legacy roles: whatever else lists, or creates and deletes, gets objects as well."""
    lists = {role for role, has in ROLES.items() if "storage.objects.list" in has and "storage.objects.get" not in has}
    writes = {role for role in lists if {"storage.objects.create", "storage.objects.delete"} <= ROLES[role]}
    assert writes == {"roles/storage.legacyBucketWriter"}
    assert lists - writes == {"roles/storage.legacyBucketReader"}
