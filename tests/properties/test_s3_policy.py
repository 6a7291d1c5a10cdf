"""The session policy before an evaluator of IAM that was not written from it.

Granted is exactly what lies under an asked prefix: for each action, in each partition, whatever the names contain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.oracles.iam import allowed, may, may_list

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.s3 import LONGEST_POLICY, PARTITIONS, compact, session_policy

READING = ("s3:GetObject", "s3:GetObjectVersion")
WRITING = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
# What no access includes. Tags, ACLs, versions, holds and retention are for whoever owns the bucket; a restore costs money;
# the listing of uploads knows no condition on the prefix, and would show the keys of the whole bucket.
NEVER_OF_AN_OBJECT = (
    "s3:BypassGovernanceRetention", "s3:DeleteObjectTagging", "s3:DeleteObjectVersion", "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAcl", "s3:GetObjectAttributes", "s3:GetObjectLegalHold", "s3:GetObjectRetention", "s3:GetObjectTagging",
    "s3:GetObjectTorrent", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging", "s3:InitiateReplication",
    "s3:ObjectOwnerOverrideToBucketOwner", "s3:PutObjectAcl", "s3:PutObjectLegalHold", "s3:PutObjectRetention",
    "s3:PutObjectTagging", "s3:PutObjectVersionAcl", "s3:PutObjectVersionTagging", "s3:ReplicateDelete",
    "s3:ReplicateObject", "s3:RestoreObject", "s3:UpdateObjectEncryption",
)  # fmt: skip
NEVER_OF_A_BUCKET = (
    "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetBucketAcl", "s3:GetBucketPolicy",
    "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions",
    "s3:PutBucketAcl", "s3:PutBucketCORS", "s3:PutBucketLogging", "s3:PutBucketNotification", "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration", "s3:PutReplicationConfiguration",
)  # fmt: skip
NEVER_AT_ALL = (
    "iam:PassRole", "s3:CreateJob", "s3:GetDataAccess", "s3:ListAllMyBuckets", "s3:PutAccessPointPolicy", "sts:AssumeRole",
    "kms:CreateGrant", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ScheduleKeyDeletion",
)  # fmt: skip
STRANGE = "*?${}'\"\\%.aAb2 -_=+[]()|^:,#@&~`!;<>"


# --- the names --------------------------------------------------------------------------------------------------------

nasty = st.text(st.sampled_from(STRANGE + "é\u00a0\u00ad\u00ffß"), min_size=1, max_size=6)
plain = st.text(st.sampled_from("ab2"), min_size=1, max_size=3)
special = st.sampled_from(
    ["${*}", "${?}", "${$}", "${aws:username}", "$", "*", "**", "?", "}", "{*}", "a*", "%2A", "$${", "${", "${*", "${${*}}"]
)
segments = st.lists(
    st.one_of(nasty, plain, special).filter(lambda name: name.strip() not in ("", ".", "..")), min_size=1, max_size=4
)
buckets = st.sampled_from(["lake", "lake2", "pond"])
partitions = st.sampled_from(PARTITIONS)
# Made, not parsed: what a URI cannot hold ("?", "#") is escaped all the same, for the policy does not lean on its caller.
locations = st.builds(lambda bucket, names: Location("s3", bucket, "/".join(names)), buckets, segments)
roots = st.builds(lambda bucket: Location("s3", bucket, ""), buckets)
several = st.lists(st.one_of(locations, locations, locations, roots), min_size=1, max_size=4)


@dataclass(frozen=True)
class Case:
    """What was asked, and an object that somebody tries."""

    asked: tuple[Location, ...]
    access: Access
    bucket: str
    key: str
    partition: str = "aws"

    @property
    def policy(self) -> dict[str, Any]:
        """As the issuer reads it: from its text."""
        made: dict[str, Any] = json.loads(json.dumps(session_policy(self.asked, self.access, partition=self.partition)))
        return made

    @property
    def inside(self) -> bool:
        """By the text alone: no segment, no pattern, nothing of ours."""
        return any(
            location.bucket == self.bucket and (location.key == "" or self.key.startswith(location.key + "/"))
            for location in self.asked
        )


@st.composite
def near(draw: st.DrawFn, location: Location) -> str:
    """A key that an attack would try: a sibling, a parent, or what a wildcard of the name would reach."""
    key = location.key
    other = draw(st.text(st.sampled_from("*?$ab2/{}é\u0100\n"), max_size=4))
    attempts = [
        f"{key}/{other}",
        f"{key}{other}",
        key,
        key.rpartition("/")[0] + "/" + other,
        f"{key.replace('*', other)}/x",
        f"{key.replace('?', 'z')}/x",
        f"{key.replace('*', '${*}').replace('?', '${?}')}/x",
        f"{key.replace('$', '')}/x",
        f"{key.replace('${', '').replace('}', '')}/x",
        f"{key.upper()}/x",
        f"{key}/../x",
        f"{other}/{key}/x",
        f"/{key}/x",
        other,
    ]
    return draw(st.sampled_from(attempts))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    asked = draw(several)
    bucket = draw(st.one_of(st.sampled_from([location.bucket for location in asked]), buckets))
    key = draw(near(draw(st.sampled_from(asked))))
    return Case(tuple(asked), draw(st.sampled_from(Access)), bucket, key, draw(partitions))


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


# --- what is granted --------------------------------------------------------------------------------------------------


@given(cases())
@example(Case((Location("s3", "lake", "*"),), Access.READ, "lake", "secret/x"))
@example(Case((Location("s3", "lake", "${*}"),), Access.READ, "lake", "${x}/x"))
@example(Case((Location("s3", "lake", "sales"),), Access.READ, "lake", "sales2/x"))
@example(Case(at("s3://lake/a", "s3://pond/b"), Access.READ, "lake", "b/x"))
@example(Case(at("s3://lake/"), Access.READ, "lake2", "x"))
def test_an_object_is_granted_if_and_only_if_it_lies_under_an_asked_prefix(case: Case) -> None:
    assume(case.key)
    policy = case.policy
    granted = {
        action: may(policy, action, case.bucket, case.key, partition=case.partition)
        for action in (*READING, *WRITING, "s3:ListBucket", "s3:GetBucketLocation", *NEVER_OF_AN_OBJECT, *NEVER_AT_ALL)
    }
    asked = (READING if case.access is not Access.WRITE else ()) + (WRITING if case.access is not Access.READ else ())
    assert {action for action, may_be in granted.items() if may_be} == (set(asked) if case.inside else set())


@given(cases())
@example(Case(at("s3://lake/a", "s3://pond/b"), Access.READ, "lake", "b/"))
@example(Case(at("s3://lake/a", "s3://lake/"), Access.WRITE, "lake", "b/"))
def test_a_listing_is_granted_if_and_only_if_its_prefix_lies_under_an_asked_one(case: Case) -> None:
    policy = case.policy
    assert may_list(policy, case.bucket, case.key, partition=case.partition) == case.inside
    whole = Location("s3", case.bucket, "") in case.asked
    assert may_list(policy, case.bucket, None, partition=case.partition) == whole
    for location in case.asked:
        assert may_list(policy, location.bucket, location.prefix, partition=case.partition)


@given(cases())
def test_of_a_bucket_nothing_but_its_region_is_told_and_of_no_other_not_even_that(case: Case) -> None:
    policy, bucket = case.policy, f"arn:{case.partition}:s3:::{case.bucket}"
    asked = case.bucket in {location.bucket for location in case.asked}
    assert allowed(policy, "s3:GetBucketLocation", bucket) == asked
    actions = (*READING, *WRITING, *NEVER_OF_A_BUCKET, *NEVER_AT_ALL)
    for resource in (bucket, f"arn:{case.partition}:s3:::*", "*"):
        assert not [action for action in actions if allowed(policy, action, resource, s3_prefix=case.key)]


@given(cases(), partitions)
def test_no_arn_of_another_partition_is_matched(case: Case, other: str) -> None:
    assume(other != case.partition)
    policy = case.policy
    for location in case.asked:
        for action in (*READING, *WRITING):
            assert not may(policy, action, location.bucket, location.prefix + "x", partition=other)
        assert not may_list(policy, location.bucket, location.prefix, partition=other)
        assert not allowed(policy, "s3:GetBucketLocation", f"arn:{other}:s3:::{location.bucket}")


@given(several, st.sampled_from(Access))
def test_neither_order_nor_repeats_nor_what_lies_inside_changes_what_is_granted(
    asked: list[Location], access: Access
) -> None:
    keys = [(bucket, f"{key}/x") for bucket in ("lake", "pond") for key in {location.key for location in asked}]
    policy = session_policy(asked, access)
    below = [Location(location.scheme, location.bucket, f"{location.prefix}deep") for location in asked]
    for same in (asked * 2, [*asked, *below], [*below, *asked], *list(permutations(asked))[:3]):
        other = session_policy(same, access)
        for bucket, key in keys:
            for action in ("s3:GetObject", "s3:PutObject"):
                assert may(policy, action, bucket, key) == may(other, action, bucket, key)
            assert may_list(policy, bucket, key) == may_list(other, bucket, key)


# --- keys -------------------------------------------------------------------------------------------------------------


@st.composite
def key_arns(draw: st.DrawFn, partition: str) -> str:
    number = draw(st.integers(1, 4))
    return f"arn:{partition}:kms:{draw(st.sampled_from(['eu-west-1', 'cn-north-1']))}:123456789012:key/{number:08d}-a"


@given(st.data(), several, st.sampled_from(Access), partitions)
def test_of_the_keys_only_the_named_ones_are_used_only_by_way_of_s3_and_only_as_needed(
    data: st.DataObject, asked: list[Location], access: Access, partition: str
) -> None:
    named = data.draw(st.lists(key_arns(partition), max_size=3))
    policy = json.loads(json.dumps(session_policy(asked, access, partition=partition, kms_keys=tuple(named))))
    for arn in {
        *named,
        data.draw(key_arns(partition)),
        data.draw(key_arns("aws-cn")),
        "*",
        f"arn:{partition}:kms:*:*:key/*",
    }:
        for service in ("s3.eu-west-1.amazonaws.com", "s3.cn-north-1.amazonaws.com.cn"):
            granted = {
                action
                for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", *READING, *WRITING, *NEVER_AT_ALL)
                if allowed(policy, action, arn, kms_ViaService=service)
            }
            needed = {"kms:Decrypt"} if access is Access.READ else {"kms:Decrypt", "kms:GenerateDataKey"}
            assert granted == (needed if arn in named else set())
        for service in ("ec2.eu-west-1.amazonaws.com", "glue.s3.amazonaws.com", "s3x.eu-west-1.amazonaws.com"):
            assert not allowed(policy, "kms:Decrypt", arn, kms_ViaService=service)
        assert not allowed(policy, "kms:Decrypt", arn)


# --- what cannot be said ----------------------------------------------------------------------------------------------


@given(several, st.sampled_from(Access))
def test_without_the_version_the_escape_would_be_the_hole(asked: list[Location], access: Access) -> None:
    assert session_policy(asked, access)["Version"] == "2012-10-17"


def test_the_evaluator_sees_the_hole_of_the_older_version() -> None:
    """It judges by the version: a judge that did not would pass a policy that grants everything."""
    older = {**session_policy([Location("s3", "lake", "*")], Access.READ), "Version": "2008-10-17"}
    assert may(older, "s3:GetObject", "lake", "${secret}/x")


@given(st.lists(locations, min_size=1, max_size=12), st.sampled_from(Access))
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


@given(locations, st.characters(min_codepoint=0x100, exclude_categories=("Cs",)), st.integers(0, 20))
def test_a_character_that_sts_does_not_take_is_refused_by_its_name(location: Location, character: str, place: int) -> None:
    key = location.key[:place] + character + location.key[place:]
    with pytest.raises(ConfigurationError, match=rf"U\+{ord(character):04X}.*U\+00FF") as caught:
        session_policy([Location("s3", location.bucket, key)], Access.READ)
    assert key in caught.value.message


@given(cases())
def test_a_store_without_escapes_gets_no_name_that_it_could_misread(case: Case) -> None:
    unsafe = [location for location in case.asked if any(character in location.key for character in "$*?")]
    alone = [location for location in unsafe if not any(o != location and o.contains(location) for o in case.asked)]
    if alone:
        with pytest.raises(ConfigurationError, match="policy_escapes") as caught:
            session_policy(case.asked, case.access, partition=case.partition, escapes=False)
        assert any(str(location) in caught.value.message for location in alone)
        return
    policy = session_policy(case.asked, case.access, partition=case.partition, escapes=False)
    assert policy == session_policy(case.asked, case.access, partition=case.partition)
    # A store that takes every "$" for itself, and one that takes it for a variable, read the same.
    literal = {**policy, "Version": "2008-10-17"}
    reading = case.inside and case.access is not Access.WRITE
    assert may(literal, "s3:GetObject", case.bucket, case.key, partition=case.partition) == reading
    assert may(policy, "s3:GetObject", case.bucket, case.key, partition=case.partition) == reading
