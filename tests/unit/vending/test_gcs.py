from __future__ import annotations

import json
from typing import Any

import pytest

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.gcs import LONGEST_EXPRESSION, MOST_RULES, access_boundary

READER = "inRole:roles/storage.legacyObjectReader"
WRITER = "inRole:roles/storage.legacyBucketWriter"
LISTER = "inRole:roles/storage.legacyBucketReader"


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


def rules(*uris: str, access: Access = Access.READ) -> list[dict[str, Any]]:
    return access_boundary(at(*uris), access)["accessBoundary"]["accessBoundaryRules"]  # type: ignore[index, no-any-return]


def conditions(*uris: str) -> list[str]:
    return [rule["availabilityCondition"]["expression"] for rule in rules(*uris)]


def test_the_boundary_of_one_prefix_is_a_rule_for_its_objects_and_one_for_its_listing() -> None:
    bucket = "//storage.googleapis.com/projects/_/buckets/lake"
    objects = "resource.name.startsWith('projects/_/buckets/lake/objects/sales/')"
    listing = "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('sales/')"
    assert access_boundary(at("gs://lake/sales"), Access.READ) == {
        "accessBoundary": {
            "accessBoundaryRules": [
                {
                    "availableResource": bucket,
                    "availablePermissions": [READER],
                    "availabilityCondition": {"expression": objects},
                },
                {
                    "availableResource": bucket,
                    "availablePermissions": [LISTER],
                    "availabilityCondition": {"expression": listing},
                },
            ]
        }
    }


@pytest.mark.parametrize(
    ("access", "roles"), [(Access.READ, [READER]), (Access.WRITE, [WRITER]), (Access.READ_WRITE, [READER, WRITER])]
)
def test_each_access_has_its_own_roles_for_objects_and_all_may_list(access: Access, roles: list[str]) -> None:
    objects, listing = rules("gs://lake/sales", access=access)
    assert objects["availablePermissions"] == roles
    assert listing["availablePermissions"] == [LISTER]


def test_several_prefixes_of_a_bucket_share_its_rules_and_no_bucket_gets_anothers() -> None:
    found = rules("gs://lake/a", "gs://pond/c", "gs://lake/b")
    assert [rule["availableResource"].rpartition("/")[2] for rule in found] == ["lake", "lake", "pond", "pond"]
    objects, listing, _, pond = conditions("gs://lake/a", "gs://pond/c", "gs://lake/b")
    assert objects == (
        "resource.name.startsWith('projects/_/buckets/lake/objects/a/') || "
        "resource.name.startsWith('projects/_/buckets/lake/objects/b/')"
    )
    assert (listing.count(" || "), listing.count("startsWith('a/')"), listing.count("startsWith('b/')")) == (1, 1, 1)
    assert pond.endswith(".startsWith('c/')")


def test_a_location_inside_another_adds_nothing() -> None:
    assert rules("gs://lake/a/b", "gs://lake/a", "gs://lake/a/") == rules("gs://lake/a")


def test_a_bucket_root_is_all_its_objects_and_is_listed_without_a_condition() -> None:
    objects, listing = rules("gs://lake/", "gs://lake/a")
    assert objects["availabilityCondition"] == {"expression": "resource.name.startsWith('projects/_/buckets/lake/objects/')"}
    assert "availabilityCondition" not in listing


def test_a_prefix_beside_a_bucket_root_keeps_its_condition() -> None:
    assert ["availabilityCondition" in rule for rule in rules("gs://pond/", "gs://lake/a")] == [True, False, True, True]


@pytest.mark.parametrize(
    ("key", "literal"),
    [
        ("o'brien", r"'o\u0027brien/'"),
        ('"`\\', r"'\u0022\u0060\u005c/'"),
        ("') || true || ('", r"'\u0027) || true || (\u0027/'"),
        ("a %{}$*[]~", "'a %{}$*[]~/'"),
        ("\x7f\n\u00e9\u2028\uffff", r"'\u007f\u000a\u00e9\u2028\uffff/'"),
        ("\U00010000\U0001f600", r"'\U00010000\U0001f600/'"),
    ],
)
def test_no_quote_no_backslash_and_nothing_beyond_ascii_stands_in_a_literal(key: str, literal: str) -> None:
    boundary = access_boundary([Location("gs", "lake", key)], Access.READ)
    objects, listing = boundary["accessBoundary"]["accessBoundaryRules"]  # type: ignore[index]
    assert listing["availabilityCondition"]["expression"].endswith(f".startsWith({literal})")
    assert objects["availabilityCondition"]["expression"].endswith(f"/objects/{literal[1:]})")


def test_the_boundary_is_data_that_json_carries_unchanged() -> None:
    boundary = access_boundary(at("gs://lake/o'brien/\u00e9"), Access.READ_WRITE)
    assert json.loads(json.dumps(boundary)) == boundary


def test_no_location_at_all_is_refused() -> None:
    """A token without a boundary would be the whole identity."""
    with pytest.raises(ConfigurationError, match="no location"):
        access_boundary((), Access.READ)


@pytest.mark.parametrize("uri", ["s3://lake/a", "abfss://lake@account.dfs.core.windows.net/a"])
def test_a_location_of_another_store_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{uri}/ is not on Google Cloud Storage"):
        access_boundary(at("gs://lake/a", uri), Access.READ)


def test_the_limits_are_those_of_googles_reference() -> None:
    assert (MOST_RULES, LONGEST_EXPRESSION) == (10, 2048)


def test_as_many_rules_as_google_takes_are_five_buckets_and_one_more_is_refused() -> None:
    buckets = [f"gs://lake{number}/a" for number in range(6)]
    assert len(rules(*buckets[:5])) == MOST_RULES
    with pytest.raises(ConfigurationError, match=rf"12 rules.*takes {MOST_RULES}.*gs://lake0/a/, .*gs://lake5/a/\)"):
        rules(*buckets)


def test_a_condition_of_the_longest_size_is_whole_and_one_character_more_is_refused() -> None:
    """Two prefixes: a key alone is held to 1,024 bytes before it comes here."""
    first = "gs://lake/" + "a" * 1000
    room = LONGEST_EXPRESSION - len(conditions(first, "gs://lake/b")[1])
    listing = conditions(first, "gs://lake/b" + "b" * room)[1]
    assert len(listing) == LONGEST_EXPRESSION
    assert listing.endswith("bb/')")
    size = rf"{LONGEST_EXPRESSION + 1} characters.*takes {LONGEST_EXPRESSION}:"
    with pytest.raises(ConfigurationError, match=size) as caught:
        rules(first, "gs://lake/bb" + "b" * room, "gs://pond/c")
    assert f"({first}/, gs://lake/bbb" in caught.value.message
    assert "gs://pond/" not in caught.value.message


def test_one_key_of_the_longest_size_is_a_boundary() -> None:
    assert len(conditions("gs://lake/" + "k" * 1024)[1]) < LONGEST_EXPRESSION
