from __future__ import annotations

import json
from typing import Any

import pytest
from tests.oracles import iam

from credbroker.errors import ConfigurationError
from credbroker.request import Access
from credbroker.vending.aws_catalogs import allowing, fitting, glue_policy, invoke_policy, tables_policy

GLUE = "arn:aws:glue:eu-west-1:123456789012:"
BUCKET = "arn:aws:s3tables:eu-west-1:123456789012:bucket/acme"
PLACE = {"partition": "aws", "region": "eu-west-1", "account": "123456789012"}
READS = {"glue:GetCatalog", "glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables"}


def statements(policy: dict[str, object]) -> list[dict[str, Any]]:
    assert policy["Version"] == "2012-10-17"
    found = policy["Statement"]
    assert isinstance(found, list)
    assert all(each["Effect"] == "Allow" for each in found)
    return found


def listed(value: str | list[str]) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def actions(policy: dict[str, object]) -> set[str]:
    return {action for statement in statements(policy) for action in listed(statement["Action"])}


def resources(policy: dict[str, object]) -> set[str]:
    return {resource for statement in statements(policy) for resource in listed(statement["Resource"])}


def test_reading_glue_is_for_the_accounts_catalog_and_changes_nothing() -> None:
    policy = glue_policy(Access.READ, **PLACE)
    assert actions(policy) == READS
    assert resources(policy) == {f"{GLUE}catalog", f"{GLUE}database/*", f"{GLUE}table/*/*"}


@pytest.mark.parametrize("access", [Access.WRITE, Access.READ_WRITE])
def test_writing_glue_reads_too_and_may_make_databases(access: Access) -> None:
    policy = glue_policy(access, **PLACE)
    assert actions(policy) == READS | {
        "glue:CreateTable",
        "glue:UpdateTable",
        "glue:DeleteTable",
        "glue:CreateDatabase",
        "glue:UpdateDatabase",
        "glue:DeleteDatabase",
    }


def test_databases_that_are_named_are_all_that_there_is() -> None:
    policy = glue_policy(Access.READ_WRITE, **PLACE, names=("sales", "hr.people"))
    tables, databases = statements(policy)
    assert listed(tables["Resource"]) == {
        f"{GLUE}catalog",
        f"{GLUE}database/sales",
        f"{GLUE}database/hr",
        f"{GLUE}table/sales/*",
        f"{GLUE}table/hr/people",
    }
    # A single table is given, not the database around it.
    assert listed(databases["Resource"]) == {
        f"{GLUE}catalog",
        f"{GLUE}database/sales",
        f"{GLUE}table/sales/*",
        f"{GLUE}userDefinedFunction/sales/*",
    }
    assert len(statements(glue_policy(Access.READ_WRITE, **PLACE, names=("hr.people",)))) == 1


def test_a_federated_catalog_has_all_its_levels() -> None:
    policy = glue_policy(Access.READ, **PLACE, catalog=("s3tablescatalog", "acme"), names=("sales",))
    assert resources(policy) == {
        f"{GLUE}catalog",
        f"{GLUE}catalog/s3tablescatalog",
        f"{GLUE}catalog/s3tablescatalog/acme",
        f"{GLUE}database/s3tablescatalog/acme/sales",
        f"{GLUE}table/s3tablescatalog/acme/sales/*",
    }


def test_lake_formation_is_asked_only_where_the_catalog_vends() -> None:
    assert "lakeformation:GetDataAccess" in actions(glue_policy(Access.READ, **PLACE, vends=True))
    assert "lakeformation:GetDataAccess" not in actions(glue_policy(Access.READ_WRITE, **PLACE))


def test_a_table_bucket_is_one_bucket_and_its_tables() -> None:
    reading, writing = tables_policy(Access.READ, bucket=BUCKET), tables_policy(Access.READ_WRITE, bucket=BUCKET)
    assert resources(reading) == resources(writing) == {BUCKET, f"{BUCKET}/table/*"}
    assert actions(reading) < actions(writing)
    assert {action for action in actions(reading) if not action.startswith(("s3tables:Get", "s3tables:List"))} == set()
    assert "s3tables:PutTableData" in actions(writing)
    # What would change who may do what, or the bucket itself.
    assert not [
        action for action in actions(writing) if "Policy" in action or "Bucket" in action.replace("GetTableBucket", "")
    ]


def test_an_api_is_narrowed_by_method() -> None:
    place = {"partition": "aws", "region": "eu-west-1", "api": "abc123"}
    arn = "arn:aws:execute-api:eu-west-1:*:abc123/*/"
    assert resources(invoke_policy(Access.READ, **place)) == {f"{arn}GET/*", f"{arn}HEAD/*"}
    assert resources(invoke_policy(Access.READ_WRITE, **place)) >= {f"{arn}POST/*", f"{arn}DELETE/*"}
    assert actions(invoke_policy(Access.READ, **place)) == {"execute-api:Invoke"}


def test_no_policy_opens_an_object_of_a_bucket() -> None:
    for policy in (
        glue_policy(Access.READ_WRITE, **PLACE, vends=True),
        tables_policy(Access.READ_WRITE, bucket=BUCKET),
        invoke_policy(Access.READ_WRITE, partition="aws", region="eu-west-1"),
        allowing("rds-db:connect", ["arn:aws:rds-db:eu-west-1:123456789012:dbuser:db-A/pipeline"]),
    ):
        for action in ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "sts:AssumeRole", "iam:PassRole"):
            assert not iam.allowed(policy, action, "arn:aws:s3:::lake/sales/x")


def test_a_policy_that_sts_would_not_take_is_refused_with_its_size() -> None:
    policy = glue_policy(Access.READ_WRITE, **PLACE, names=tuple(f"database_{number}" for number in range(60)))
    size = len(json.dumps(policy, separators=(",", ":")))
    with pytest.raises(ConfigurationError, match=rf"has {size} characters, and STS takes 2048: name fewer"):
        fitting(policy, "name fewer")
    assert json.loads(fitting(glue_policy(Access.READ, **PLACE), "")) == glue_policy(Access.READ, **PLACE)
