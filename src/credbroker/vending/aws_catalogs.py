"""The IAM session policy that narrows an assumed role to one catalog: Glue's, a table bucket's, or one behind API Gateway.

Like a store's (``vending.s3``) it is data, and there is none that is empty: a call without a policy gets the whole role. No
policy here opens the objects of a bucket of the user's own; those are the storage profiles'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from credbroker.errors import ConfigurationError
from credbroker.request import Access
from credbroker.vending.s3 import LONGEST_POLICY

# AWS Glue developer guide, "Specifying AWS Glue resource ARNs": a call needs its object and everything above it.
_GLUE_READ = ("GetCatalog", "GetDatabase", "GetDatabases", "GetTable", "GetTables")
_GLUE_WRITE = ("CreateTable", "UpdateTable", "DeleteTable")
_GLUE_DATABASES = ("CreateDatabase", "UpdateDatabase", "DeleteDatabase")
# Amazon S3 user guide, "Accessing tables using the Amazon S3 Tables Iceberg REST endpoint": each route's actions.
_TABLES_READ = (
    "GetTableBucket", "ListNamespaces", "GetNamespace", "ListTables", "GetTable", "GetTableMetadataLocation", "GetTableData",
)  # fmt: skip
_TABLES_WRITE = (
    "CreateNamespace", "DeleteNamespace", "CreateTable", "DeleteTable", "RenameTable", "UpdateTableMetadataLocation",
    "PutTableData",
)  # fmt: skip
_METHODS_READ = ("GET", "HEAD")
_METHODS_WRITE = ("POST", "PUT", "DELETE")


def glue_policy(
    access: Access,
    *,
    partition: str,
    region: str,
    account: str,
    catalog: Sequence[str] = (),
    names: Iterable[str] = (),
    vends: bool = False,
) -> dict[str, object]:
    """The policy for a Glue Data Catalog of ``account``.

    ``catalog`` is the path of a federated catalog in it (``s3tablescatalog``, ``<table bucket>``). ``names`` are databases,
    and tables as ``database.table``; without any it is for all of them. ``vends``: Lake Formation may be asked for the keys
    of a table's files, which is its own grant to make, table by table.
    """
    arn = f"arn:{partition}:glue:{region}:{account}:"
    inside = "".join(f"{name}/" for name in catalog)
    wanted = tuple(names) or ("*",)
    databases = dict.fromkeys(name.partition(".")[0] for name in wanted)
    tables = [f"{arn}table/{inside}{name.replace('.', '/') if '.' in name else f'{name}/*'}" for name in wanted]
    above = [f"{arn}catalog", *(f"{arn}catalog/{'/'.join(catalog[:end])}" for end in range(1, len(catalog) + 1))]
    around = [*above, *(f"{arn}database/{inside}{name}" for name in databases)]
    write = access.covers(Access.WRITE)
    statements = [_allow("glue", _GLUE_READ + (_GLUE_WRITE if write else ()), [*around, *tables])]
    # Whoever is given single tables may not change the database around them.
    whole = [name for name in wanted if "." not in name]
    if write and whole:
        # DeleteDatabase takes what is in the database with it, its functions too.
        changed = [f"{arn}database/{inside}{name}" for name in whole]
        within = [f"{arn}{kind}/{inside}{name}/*" for name in whole for kind in ("table", "userDefinedFunction")]
        statements.append(_allow("glue", _GLUE_DATABASES, [*above, *changed, *within]))
    if vends:
        statements.append(_allow("lakeformation", ("GetDataAccess",), ["*"]))  # it knows no resource
    return _policy(statements)


def tables_policy(access: Access, *, bucket: str) -> dict[str, object]:
    """The policy for the table bucket of that ARN, and for every table in it, with its files."""
    actions = _TABLES_READ + (_TABLES_WRITE if access.covers(Access.WRITE) else ())
    return _policy([_allow("s3tables", actions, [bucket, f"{bucket}/table/*"])])


def invoke_policy(access: Access, *, partition: str, region: str, api: str = "*") -> dict[str, object]:
    """The policy for a REST catalog behind API Gateway; ``api`` is its id, where the host's name says it.

    Reading is by GET and HEAD: a catalog that answers a POST with no more than what can be read is not told apart.
    """
    methods = _METHODS_READ + (_METHODS_WRITE if access.covers(Access.WRITE) else ())
    arn = f"arn:{partition}:execute-api:{region}:*:{api}"
    return _policy([_allow("execute-api", ("Invoke",), [f"{arn}/*/{method}/*" for method in methods])])


def fitting(policy: Mapping[str, object], remedy: str) -> str:
    """The policy as the shortest JSON text. ``ConfigurationError`` with ``remedy`` where STS takes no such length."""
    text = json.dumps(policy, separators=(",", ":"), ensure_ascii=False)
    if len(text) > LONGEST_POLICY:
        raise ConfigurationError(f"the session policy has {len(text)} characters, and STS takes {LONGEST_POLICY}: {remedy}")
    return text


def allowing(action: str, resources: list[str]) -> dict[str, object]:
    """The policy for one action."""
    service, _, name = action.partition(":")
    return _policy([_allow(service, (name,), resources)])


def _policy(statements: list[dict[str, object]]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(service: str, actions: Sequence[str], resources: list[str]) -> dict[str, object]:
    named = [f"{service}:{action}" for action in actions]
    return {"Effect": "Allow", "Action": _one_or_many(named), "Resource": _one_or_many(resources)}


def _one_or_many(texts: list[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else texts
