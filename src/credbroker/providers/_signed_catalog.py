"""A catalog whose requests are signed with AWS keys (SigV4): where it is, what the signature names, what its role may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from credbroker.identity.aws import REGION, partition_of, regional_endpoint
from credbroker.profile import CatalogProfile
from credbroker.providers._sts_role import is_aws
from credbroker.providers.requirements import check_url, misconfigured
from credbroker.request import Access
from credbroker.vending.aws_catalogs import glue_policy, invoke_policy, tables_policy

ENABLED = "rest.sigv4-enabled"
SIGNING_NAME = "rest.signing-name"
SIGNING_REGION = "rest.signing-region"
GLUE_ID = "glue.id"
GLUE_NAMES = "glue.databases"
GLUE_SKIP_ARCHIVE = "glue.skip-archive"
PROPERTIES = frozenset({ENABLED, SIGNING_NAME, SIGNING_REGION, GLUE_ID, GLUE_NAMES, GLUE_SKIP_ARCHIVE})
"""Those of a profile's ``properties:`` that are read here, and reach PyIceberg in no other way."""

_NAMES = ("execute-api", "glue", "s3tables")
_DEFAULT_NAME = "execute-api"  # PyIceberg's own, and the Java client's
_BUCKET = re.compile(r"arn:(aws[a-z-]*):s3tables:([a-z0-9-]+):([0-9]{12}):bucket/[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_BUCKET_URL = re.compile(r"s3://([a-z0-9][a-z0-9-]{1,61}[a-z0-9])/?")
_GLUE_ID = re.compile(r"([0-9]{12})(?::([A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*))?")
_GLUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}(?:\.[A-Za-z0-9_-]{1,255})?")
_API_HOST = re.compile(r"([a-z0-9]{1,32})(?:-vpce-[a-z0-9]+)?\.execute-api\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_CODE_IN_XML = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


@dataclass(frozen=True, slots=True)
class Signing:
    """What a signature for a catalog names."""

    name: str
    """The service's: ``glue``, ``s3tables`` or ``execute-api``."""
    region: str


def is_signed(profile: CatalogProfile) -> bool:
    """Whether requests to the catalog are signed, and not sent with a token."""
    return profile.credentials is not None and profile.credentials.mode == "iam_role"


def signing_of(profile: CatalogProfile) -> Signing:
    """What signatures for the catalog name. Raises ``ConfigurationError`` for settings that cannot work."""
    if profile.type in ("glue", "s3tables"):
        if profile.region is None or not REGION.fullmatch(profile.region):
            raise misconfigured(profile, "region", f"must be an AWS region: a catalog of type {profile.type!r} is in one")
        return Signing(profile.type, profile.region)
    properties = profile.properties
    if properties.get(ENABLED, "").lower() != "true":
        raise misconfigured(
            profile,
            f"properties.{ENABLED}",
            f"must be true: mode iam_role has keys that sign requests, and no token (with it set {SIGNING_NAME} too)",
        )
    name = properties.get(SIGNING_NAME, _DEFAULT_NAME)
    if name not in _NAMES:
        raise misconfigured(
            profile,
            f"properties.{SIGNING_NAME}",
            f"must be one of {', '.join(_NAMES)}: the role is narrowed to what the catalog's service is asked for, and for "
            "another one it is not known what that is",
        )
    region = properties.get(SIGNING_REGION) or profile.region
    if region is None or not REGION.fullmatch(region):
        raise misconfigured(profile, f"properties.{SIGNING_REGION}", "must be an AWS region: the signature names it")
    return Signing(name, region)


def refuses_keys(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the answer to a signed request says by its code that the keys, or the signature, are not taken.

    AWS says so by HTTP 403, by which it says too that a right is missing, and in its JSON protocol by 400.
    """
    if status not in (400, 403):
        return False
    from credbroker.identity.aws_api import UNAUTHENTICATED  # botocore, which signed the request, is loaded by then

    return any(code in UNAUTHENTICATED for code in _codes(headers, body))


def _codes(headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    """What an answer calls its error: AWS by a header or in the body, Iceberg's specification in the body."""
    yield _plain(headers.get("x-amzn-errortype"))
    in_xml = _CODE_IN_XML.search(body)
    if in_xml is not None:
        yield in_xml[1].decode()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    for error in (document, document.get("error"), document.get("Error")):
        if isinstance(error, dict):
            yield from (_plain(error.get(name)) for name in ("__type", "type", "Code", "code"))


def _plain(code: object) -> str:
    """``ExpiredTokenException`` of ``com.amazonaws.glue#ExpiredTokenException:http://...`` (AWS JSON 1.1, REST JSON)."""
    return code.partition(":")[0].rpartition("#")[2] if isinstance(code, str) else ""


def default_uri(profile: CatalogProfile) -> str | None:
    """Where AWS has the catalog, for a type that says it; None where the profile's ``uri`` must."""
    if profile.type not in ("glue", "s3tables"):
        return None
    endpoint = regional_endpoint(profile.type, signing_of(profile).region)
    return endpoint if profile.type == "glue" else f"{endpoint}iceberg"


def policy_for(profile: CatalogProfile, access: Access, *, partition: str, account: str | None) -> dict[str, object]:
    """What a session of a role in ``account`` is narrowed to, to serve the catalog and nothing else.

    Raises ``ConfigurationError`` for settings that cannot work, or that no policy could express.
    """
    signing = signing_of(profile)
    if profile.type == "rest" and profile.uri is None:
        raise misconfigured(profile, "uri", "is missing: say where the catalog is")
    if isinstance(profile.uri, str):
        check_url(profile, "uri", profile.uri)
    if partition_of(signing.region) != partition and profile.type != "rest":
        raise misconfigured(profile, "region", f"is not in the role's partition {partition!r}")
    if signing.name == "s3tables":
        return tables_policy(access, bucket=_table_bucket(profile, signing, partition))
    if signing.name == "execute-api":
        host = urlsplit(profile.uri).hostname or "" if isinstance(profile.uri, str) else ""
        found = _API_HOST.fullmatch(host)
        return invoke_policy(access, partition=partition, region=signing.region, api=found.group(1) if found else "*")
    owner, catalog = _glue_catalog(profile, account)
    return glue_policy(
        access,
        partition=partition,
        region=signing.region,
        account=owner,
        catalog=catalog,
        names=glue_names(profile),
        vends=profile.type == "rest" and profile.access_delegation == "vended-credentials",
    )


def glue_names(profile: CatalogProfile) -> tuple[str, ...]:
    """The databases, and the tables as ``database.table``, that the profile limits its role to; none: all.

    Raises ``ConfigurationError`` for a property that is there and names nothing, or what is no name.
    """
    stated = profile.properties.get(GLUE_NAMES)
    if stated is None:
        return ()
    names = tuple(filter(None, (name.strip() for name in stated.split(","))))
    if not names:
        # A variable that is not set must not open what it was to close.
        raise misconfigured(
            profile, f"properties.{GLUE_NAMES}", "names no database: name one, or leave the property out, which means all"
        )
    for name in names:
        if not _GLUE_NAME.fullmatch(name):
            raise misconfigured(
                profile,
                f"properties.{GLUE_NAMES}",
                "must list databases, or tables as database.table, of letters, digits, '_' and '-', with commas between",
            )
    return tuple(dict.fromkeys(names))


def _glue_catalog(profile: CatalogProfile, account: str | None) -> tuple[str, tuple[str, ...]]:
    """The account that owns a Glue catalog, and the path of a federated one in it."""
    field, stated = f"properties.{GLUE_ID}", profile.properties.get(GLUE_ID)
    if stated is None and profile.type == "rest":  # Glue's REST endpoint takes it as the warehouse
        field, stated = "warehouse", profile.warehouse
    if stated is None and account is not None:
        return account, ()
    found = _GLUE_ID.fullmatch(stated or "")
    if found is None:
        raise misconfigured(profile, field, "must be the id of a Glue catalog: <12 digits>, or <12 digits>:<catalog>/<...>")
    return found.group(1), tuple((found.group(2) or "").split("/")) if found.group(2) else ()


def _table_bucket(profile: CatalogProfile, signing: Signing, partition: str) -> str:
    """The ARN of the table bucket that is the catalog's warehouse."""
    stated = profile.warehouse or ""
    found = _BUCKET.fullmatch(stated)
    if found is not None:
        if found.group(1) != partition:
            raise misconfigured(profile, "warehouse", f"is not in the role's partition {partition!r}")
        if found.group(2) != signing.region:
            raise misconfigured(profile, "warehouse", f"is a table bucket of another region than {signing.region!r}")
        return stated
    url = _BUCKET_URL.fullmatch(stated)
    if url is not None and profile.type == "rest":  # as SeaweedFS names one, whose accounts are its own
        if is_aws(profile.credentials.sts_endpoint if profile.credentials is not None else None):
            raise misconfigured(
                profile,
                "warehouse",
                "must be the table bucket's ARN where the role is AWS's: s3://<bucket> says no region and no account, so "
                "that it would be narrowed to none",
            )
        return f"arn:{partition}:s3tables:*:*:bucket/{url.group(1)}"
    raise misconfigured(
        profile, "warehouse", "must be the table bucket's ARN: arn:aws:s3tables:<region>:<12 digits>:bucket/<name>"
    )
