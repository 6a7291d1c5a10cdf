from __future__ import annotations

import pytest

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.s3 import LONGEST_POLICY, compact, session_policy

READ = ["s3:GetObject", "s3:GetObjectVersion"]
WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


def test_the_policy_of_one_prefix_allows_its_objects_its_listing_and_the_buckets_region() -> None:
    assert session_policy(at("s3://lake/sales"), Access.READ) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": READ, "Resource": "arn:aws:s3:::lake/sales/*"},
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::lake",
                "Condition": {"StringLike": {"s3:prefix": "sales/*"}},
            },
            {"Effect": "Allow", "Action": "s3:GetBucketLocation", "Resource": "arn:aws:s3:::lake"},
        ],
    }


@pytest.mark.parametrize(
    ("access", "actions"), [(Access.READ, READ), (Access.WRITE, WRITE), (Access.READ_WRITE, [*READ, *WRITE])]
)
def test_each_access_has_its_own_actions(access: Access, actions: list[str]) -> None:
    policy = session_policy(at("s3://lake/sales"), access)
    assert policy["Statement"][0]["Action"] == actions  # type: ignore[index]


def test_several_locations_share_statements_but_no_bucket_gets_anothers_prefixes() -> None:
    policy = session_policy(at("s3://lake/a", "s3://lake/b", "s3://pond/c"), Access.READ)
    objects, lake, pond, region = policy["Statement"]  # type: ignore[misc]
    assert objects["Resource"] == ["arn:aws:s3:::lake/a/*", "arn:aws:s3:::lake/b/*", "arn:aws:s3:::pond/c/*"]
    assert (lake["Resource"], lake["Condition"]) == ("arn:aws:s3:::lake", {"StringLike": {"s3:prefix": ["a/*", "b/*"]}})
    assert (pond["Resource"], pond["Condition"]) == ("arn:aws:s3:::pond", {"StringLike": {"s3:prefix": "c/*"}})
    assert region["Resource"] == ["arn:aws:s3:::lake", "arn:aws:s3:::pond"]


def test_a_location_inside_another_adds_nothing() -> None:
    assert session_policy(at("s3://lake/a/b", "s3://lake/a", "s3://lake/a/"), Access.READ) == session_policy(
        at("s3://lake/a"), Access.READ
    )


def test_a_bucket_root_is_listed_without_a_condition() -> None:
    """A listing without a prefix carries no ``s3:prefix`` at all, so that no pattern could match it."""
    objects, listing, _ = session_policy(at("s3://lake/", "s3://lake/a"), Access.READ)["Statement"]  # type: ignore[misc]
    assert objects["Resource"] == "arn:aws:s3:::lake/*"
    assert "Condition" not in listing


def test_wildcards_in_a_name_are_literal_in_the_policy() -> None:
    policy = session_policy((Location("s3", "lake", "a*/b?/$c/${*}"),), Access.READ)
    escaped = "a${*}/b${?}/${$}c/${$}{${*}}/*"
    assert policy["Statement"][0]["Resource"] == f"arn:aws:s3:::lake/{escaped}"  # type: ignore[index]
    assert policy["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": escaped}}  # type: ignore[index]


@pytest.mark.parametrize("key", ["a*", "a$", "a?", "${*}"])
def test_a_store_without_escapes_refuses_names_with_wildcards(key: str) -> None:
    with pytest.raises(ConfigurationError, match="policy_escapes"):
        session_policy((Location("s3", "lake", key),), Access.READ, escapes=False)


def test_no_location_at_all_is_refused() -> None:
    """An empty policy would be the whole role."""
    with pytest.raises(ConfigurationError, match="no location"):
        session_policy((), Access.READ)


def test_a_location_of_another_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not on S3"):
        session_policy(at("gs://lake/a"), Access.READ)


def test_a_character_that_sts_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"U\+0100"):
        session_policy(at("s3://lake/\u0100"), Access.READ)
    assert "\u00ff" in compact(session_policy(at("s3://lake/\u00ff"), Access.READ), ())


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_the_partition_is_in_every_arn(partition: str) -> None:
    for statement in session_policy(at("s3://lake/a"), Access.READ, partition=partition)["Statement"]:  # type: ignore[attr-defined]
        assert statement["Resource"].startswith(f"arn:{partition}:s3:::lake")


def test_an_unknown_partition_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="partition"):
        session_policy(at("s3://lake/a"), Access.READ, partition="aws-evil")


def test_keys_are_used_by_way_of_s3_only_and_for_reading_only_to_decrypt() -> None:
    reading = session_policy(at("s3://lake/a"), Access.READ, kms_keys=(KEY,))["Statement"][-1]  # type: ignore[index]
    writing = session_policy(at("s3://lake/a"), Access.WRITE, kms_keys=(KEY,))["Statement"][-1]  # type: ignore[index]
    assert reading == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": KEY,
        "Condition": {"StringLike": {"kms:ViaService": "s3.*"}},
    }
    assert writing["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_a_key_of_several_regions_and_one_in_upper_case_are_keys() -> None:
    for key in ("arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd", KEY.replace("1111-2222", "AAAA-BBBB")):
        statement = session_policy(at("s3://lake/a"), Access.READ, kms_keys=(key,))["Statement"][-1]  # type: ignore[index]
        assert statement["Resource"] == key


@pytest.mark.parametrize(
    "key", ["*", "arn:aws:kms:*:123456789012:key/*", KEY.replace("key/", "alias/"), KEY.replace(":aws:", ":aws-cn:")]
)
def test_a_kms_key_must_be_one_key_of_the_partition(key: str) -> None:
    with pytest.raises(ConfigurationError, match="kms_keys"):
        session_policy(at("s3://lake/a"), Access.READ, kms_keys=(key,))


def test_a_policy_over_the_limit_names_size_limit_and_locations() -> None:
    locations = at(*(f"s3://lake/a-rather-long-name-for-a-prefix/{number}" for number in range(40)))
    policy = session_policy(locations, Access.READ)
    with pytest.raises(ConfigurationError, match=r"\d{4} characters, and STS takes 2048.*prefix/38/, s3://.*prefix/39/"):
        compact(policy, locations)


def test_the_limit_is_the_last_size_that_is_taken() -> None:
    def sized(size: int) -> dict[str, str]:
        return {"Version": "x" * (size - len('{"Version":""}'))}

    assert len(compact(sized(LONGEST_POLICY), ())) == LONGEST_POLICY == 2048
    with pytest.raises(ConfigurationError, match="has 2049 characters"):
        compact(sized(LONGEST_POLICY + 1), ())


def test_the_text_has_no_superfluous_space() -> None:
    """Ceph's STS was seen to refuse a policy with blanks between its tokens."""
    assert compact({"Version": "2012-10-17", "Statement": []}, ()) == '{"Version":"2012-10-17","Statement":[]}'
