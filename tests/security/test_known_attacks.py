"""The published attacks on credential vending, one by one, by the way that a user would go.

Each was found in a catalog, a client or a sidecar in use. Here each is refused, or what is granted is exactly what was
named, by the word of judges that were not written from our code. ``PUBLISHED`` is the list that must be complete.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from azure.storage.blob import UserDelegationKey
from pydantic import SecretStr

from credbroker import Broker, TableCredentials
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import DelegationKey
from credbroker.errors import AccessDenied, ConfigurationError, CredbrokerError, MalformedResponse
from credbroker.location import Location
from credbroker.table_locations import storage_for
from credbroker.testing import ControlledProvider, FakeHttp, ManualClock
from credbroker.vending.adls import sign
from tests.oracles import sas
from tests.oracles.cel import allows as google_allows
from tests.oracles.iam import allowed, may, may_list

PUBLISHED = {
    "CVE-2026-42809",  # apache/polaris: a staged table's location was vended for before it was checked
    "CVE-2026-42810",  # apache/polaris: "*" in a name was a wildcard of IAM
    "CVE-2026-42811",  # apache/polaris: "'" in a name ended the text in CEL
    "CVE-2026-42812",  # apache/polaris: a changed write.metadata.path was not checked
    "apache/polaris#4751",  # the expiry of a SAS that was told was not the signed one
    "apache/polaris#4884",  # startsWith('…/tbl') also matched tbl2
    "apache/polaris, Azure",  # without the flag for a hierarchical account, a SAS for the whole container
    "unitycatalog#1715",  # s3://bucket/* and its encoded form gave the bucket
    "unitycatalog#1721",  # a quote in a location ended the text in CEL
    "lakekeeper#1740",  # query, fragment, encoded dots and slashes: read one way by the signer and another by the store
    "lakekeeper, Azure",  # the signed path must be the decoded one, at its depth
    "lakekeeper, Alibaba",  # a store that knows no escape for "*" and "?"
    "apache/gravitino, escaping",  # names went into the policies as they were
    "apache/gravitino, partition",  # the partition was looked for anywhere in the role's ARN
    "projectnessie/nessie",  # "*/<path>/*" also matched that path under any other prefix
    "seaweedfs#10777",  # the prefix went into the policy as it was; "${…}" is a variable there
    "jtblin/kube2iam",  # the cache's key was the role alone, without the external id
    "apache/iceberg#11389",  # the longest prefix was taken, whether or not it matched
    "apache/iceberg#16463",  # the catalog's token was sent to any refresh endpoint
    "apache/iceberg#16464",  # a SAS was chosen by its account alone
    "apache/iceberg#16470",  # /v1/config could lead the session elsewhere
    "apache/iceberg#16482",  # a refresh endpoint of another origin, or over plain http
    "apache/iceberg#17003",  # keys for s3://…/foo were used for s3://…/foobar
    "apache/iceberg#17004",  # so they were for gs://
}
KNOWN: set[str] = set()

Test = TypeVar("Test", bound=Callable[..., None])


def known(*names: str) -> Callable[[Test], Test]:
    """The test shows what becomes of these attacks."""

    def note(test: Test) -> Test:
        KNOWN.update(names)
        return test

    return note


# -- a platform like any other -----------------------------------------------------------------------------------------

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
URI = "https://catalog.example/api"
ABFSS = "abfss://data@account1.dfs.core.windows.net"
AWS_ROLE = {
    "mode": "iam_role",
    "role_arn": "arn:aws:iam::123456789012:role/Pipe",
    "sts_endpoint": "https://sts.eu-west-1.amazonaws.com",
    "credential_source": "environment",
}
GOOGLE = {"mode": "service_account", "credential_source": "metadata"}
AZURE = {"mode": "service_account", "credential_source": "managed_identity"}
LAKE = {"locations": ["s3://lake/wh/"], "access": "read_write", "credentials": AWS_ROLE}
STORAGE: dict[str, Any] = {
    "lake": LAKE,
    "bucket": {**LAKE, "locations": ["s3://lake/"]},
    "compatible": {**LAKE, "credentials": {**AWS_ROLE, "sts_endpoint": "https://store.example"}},
    "google": {"type": "gcs", "locations": ["gs://lake/wh/"], "access": "read_write", "credentials": GOOGLE},
    "azure": {"type": "azure", "locations": [f"{ABFSS}/wh/"], "access": "read_write", "credentials": AZURE},
    "flat": {"type": "azure", "locations": [f"{ABFSS}/"], "allow_container_scope": True, "credentials": AZURE},
}
OAUTH2 = {"mode": "oauth2", "client_id": "p", "client_secret": {"secret_ref": "p"}, "scope": "a"}
CATALOG = {"uri": URI, "storage": ["lake", "google", "azure"], "credentials": OAUTH2}


@contextmanager
def opened(
    answer: Callable[[HttpRequest], HttpResponse] | None = None, catalog: Mapping[str, Any] = CATALOG, **storage: Any
) -> Iterator[Broker]:
    """A broker of that platform, with ``answer`` for its catalog. No issuer of storage credentials may be called."""
    config = {"environment": "local", "catalogs": {"production": catalog}, "storage": {**STORAGE, **storage}}
    http = FakeHttp(*[answer] * 9) if answer else FakeHttp()
    context = Context(clock=ManualClock(NOW), http=http)
    with Broker.from_config(config, providers={"oauth2": ControlledProvider()}, context=context) as broker:
        yield broker


def policy_of(profile: str, *locations: str, access: str = "read_write", **storage: Any) -> Mapping[str, Any]:
    with opened(**storage) as broker:
        policy = broker.storage(profile, *locations, access=access).explain().policy
    assert policy is not None
    return json.loads(json.dumps(policy))  # type: ignore[no-any-return]


def refused(profile: str, location: str, *, because: str) -> None:
    """In every way that names a location: asked for, narrowed to, and looked for among a catalog's profiles."""
    with opened() as broker:
        within = broker.storage(profile, STORAGE[profile]["locations"][0])
        for ask in (partial(broker.storage, profile), within.downscope, partial(storage_for, broker, "production")):
            with pytest.raises(ConfigurationError, match=because) as caught:
                ask(location)
            assert repr(location) in caught.value.message or location in caught.value.message


# -- the judges --------------------------------------------------------------------------------------------------------


def s3_opens(policy: Mapping[str, Any], bucket: str, key: str) -> bool:
    """Whether any of it is open to any action; and inside, all of it to all."""
    verdicts = {may(policy, action, bucket, key) for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")}
    verdicts |= {may_list(policy, bucket, key)}
    assert len(verdicts) == 1
    return verdicts.pop()


def google_opens(policy: Mapping[str, Any], bucket: str, key: str) -> bool:
    permissions = ("storage.objects.get", "storage.objects.create", "storage.objects.delete", "storage.objects.list")
    verdicts = {google_allows(policy, permission, bucket, key) for permission in permissions}
    assert len(verdicts) == 1
    return verdicts.pop()


AZURE_KEY = DelegationKey(
    oid="11059fcc-5514-4800-b5f8-49808b9cfab6",
    tid="ab1f708d-50f6-404c-a006-d71b2ac7a606",
    start=NOW - timedelta(minutes=15),
    expiry=NOW + timedelta(days=1),
    service="b",
    version="2025-11-05",
    value=SecretStr(base64.b64encode(b"a key of thirty-two bytes, 12345").decode()),
)
AZURES_OWN = UserDelegationKey()
AZURES_OWN.value = AZURE_KEY.value.get_secret_value()


def azure_opens(policy: Mapping[str, Any], path: str, *, container: str = "data", hierarchical: bool = True) -> bool:
    signed = sign(policy, AZURE_KEY, NOW + timedelta(hours=1)).get_secret_value()
    verdicts = {
        sas.allows(signed, sas.Request(what, "account1", container, path, NOW, hierarchical=hierarchical), AZURES_OWN)
        for what in ("read", "overwrite", "delete", "list")
    }
    assert len(verdicts) == 1
    return verdicts.pop()


# -- names that are patterns to the policy's reader --------------------------------------------------------------------


@known("CVE-2026-42810", "apache/gravitino, escaping")
@pytest.mark.parametrize("table", ["*", "*.*", "t?", "**", "${*}", "a*/b", "$", "${aws:username}"])
def test_a_wildcard_in_a_tables_name_is_a_letter_of_it(table: str) -> None:
    policy = policy_of("lake", f"s3a://lake/wh/{table}".replace("?", "%3F"))  # "?" ends a URI's path: there it is refused
    name = table.replace("?", "%3F")
    assert s3_opens(policy, "lake", f"wh/{name}/data/1")
    for other in ("orders", "a.b", "tx", "secret/x", "ab/b", "x", "${x}", "{*}", "ana", table.replace("$", "")):
        if other != name:
            assert not s3_opens(policy, "lake", f"wh/{other}/data/1"), other
    assert not s3_opens(policy, "lake", "other/data/1")
    refused("lake", "s3://lake/wh/t?/x", because="query or fragment")


@known("unitycatalog#1715")
@pytest.mark.parametrize(
    "location", ["s3://lake/*", "s3://lake/%2A", "s3://lake/%252A", "s3://lake/*/*", "s3://lake/%2a%2a"]
)
def test_a_star_for_a_whole_location_is_no_bucket_whoever_decodes_it(location: str) -> None:
    policy = policy_of("bucket", location)
    key = location.removeprefix("s3://lake/")
    assert s3_opens(policy, "lake", f"{key}/x")
    # The key is kept as it was written: what a decoder makes of it is another one, and closed.
    for other in ("secret/x", "x", "a/b/c", "%2A/x", "*/x", "%252A/x", "%2a%2a/x"):
        assert s3_opens(policy, "lake", other) == f"{other}/".startswith(f"{key}/"), other
    assert not may_list(policy, "lake", None)


@known("seaweedfs#10777", "lakekeeper, Alibaba")
@pytest.mark.parametrize("name", ["*", "a*", "a$", "${aws:username}", "${*}", "$"])
def test_a_store_that_may_know_no_escape_gets_no_name_that_it_could_misread(name: str) -> None:
    """SeaweedFS takes ``${*}`` for a variable; Alibaba's RAM has no escape at all."""
    with opened() as broker, pytest.raises(ConfigurationError, match="policy_escapes") as caught:
        broker.storage("compatible", f"s3://lake/wh/{name}")
    assert f"s3://lake/wh/{name}/" in caught.value.message
    policy = policy_of("compatible", "s3://lake/wh/plain")
    assert "$" not in json.dumps(policy)
    assert s3_opens(policy, "lake", "wh/plain/x")
    # The one who says that the store knows it gets it escaped, and as exact as on AWS.
    said = policy_of("said", f"s3://lake/wh/{name}", said={**STORAGE["compatible"], "policy_escapes": True})
    assert s3_opens(said, "lake", f"wh/{name}/x")
    assert not s3_opens(said, "lake", "wh/ana/x")


@known("projectnessie/nessie")
def test_a_path_is_open_below_its_bucket_and_under_no_other_prefix() -> None:
    policy = policy_of("lake", "s3://lake/wh/orders")
    assert s3_opens(policy, "lake", "wh/orders/1")
    for key in ("a/wh/orders/1", "0110/wh/orders/1", "/wh/orders/1", "x/lake/wh/orders/1", "orders/1"):
        assert not s3_opens(policy, "lake", key), key


@known("CVE-2026-42811", "unitycatalog#1721")
@pytest.mark.parametrize(
    "table",
    [
        "t') || true || resource.name.startsWith('",
        "t' || '' == '",
        't") || true || ("',
        "t\\') || true || ('",
        "t\\",
        "t\\x27",
        "t`${x}",
        "\u2019",
    ],
)
def test_a_quote_in_a_tables_name_is_a_letter_of_it(table: str) -> None:
    policy = policy_of("google", f"gs://lake/wh/{table}")
    assert google_opens(policy, "lake", f"wh/{table}/x")
    for key in ("wh/t/x", "wh/x", "x", "other/x", "wh/t", "wh/"):
        assert not google_opens(policy, "lake", key), key
    for bucket in ("pond", "lake2"):
        assert not google_opens(policy, bucket, f"wh/{table}/x")


@known("CVE-2026-42811")
@pytest.mark.parametrize("table", ["t\n", "t\x00'", "t\r\nb", "t\ud800", "t%0a", "t%00"])
def test_a_control_character_or_a_lone_surrogate_in_a_name_is_refused(table: str) -> None:
    refused("google", f"gs://lake/wh/{table}/x", because="control character")


# -- prefixes that reach their siblings --------------------------------------------------------------------------------


@known("apache/polaris#4884", "apache/gravitino, escaping")
@pytest.mark.parametrize("sibling", ["tbl2", "tbl-secret", "tbl.bak", "tb", "tbl_", "TBL"])
def test_a_table_does_not_open_its_siblings(sibling: str) -> None:
    for location in ("wh/tbl", "wh/tbl/"):
        s3, google, azure = (
            policy_of(profile, f"{root}/{location}")
            for profile, root in (("lake", "s3://lake"), ("google", "gs://lake"), ("azure", ABFSS))
        )
        assert s3_opens(s3, "lake", "wh/tbl/x")
        assert google_opens(google, "lake", "wh/tbl/x")
        assert azure_opens(azure, "wh/tbl/x")
        for key in (f"wh/{sibling}/x", f"wh/{sibling}", "wh/", "wh"):
            assert not s3_opens(s3, "lake", key)
            assert not google_opens(google, "lake", key)
            assert not azure_opens(azure, key)


@known("apache/iceberg#17003", "apache/iceberg#17004", "apache/iceberg#11389")
@pytest.mark.parametrize("root", ["s3://lake", "gs://lake"])
def test_a_files_keys_are_those_whose_prefix_contains_it_and_the_longest_of_them(root: str) -> None:
    vended = [entry(f"{root}/wh/foo", "KEYS-OF-FOO"), entry(f"{root}/wh/foo/deeper/still", "KEYS-OF-STILL")]
    value = table(location=f"{root}/wh/foo", credentials=vended)
    for path in ("foo", "foo/x", "foo/deeper/x", "foo/deeper/stillness/x"):
        assert shown(value, f"{root}/wh/{path}") == "KEYS-OF-FOO"
    assert shown(value, f"{root}/wh/foo/deeper/still/x") == "KEYS-OF-STILL"
    for path in ("wh/foobar/x", "wh/foo2", "wh", "other/a-much-longer-path-that-no-prefix-matches/at-all"):
        with pytest.raises(AccessDenied, match="lies outside"):
            value.for_location(f"{root}/{path}")


# -- texts that two readers read differently ---------------------------------------------------------------------------


@known("lakekeeper#1740")
@pytest.mark.parametrize(("profile", "root"), [("lake", "s3://lake"), ("google", "gs://lake"), ("azure", ABFSS)])
@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("wh/t?x=/../../secret", "query or fragment"),
        ("wh/t#/../../secret", "query or fragment"),
        ("wh/%2E%2E/secret", r"'\.\.' segment"),
        ("wh/.%2e/secret", r"'\.\.' segment"),
        ("wh/%252E%252E/secret", r"'\.\.' segment"),
        ("wh/../secret", r"'\.\.' segment"),
        ("wh/./t", r"'\.' or"),
        ("wh/t%2F..%2F..%2Fsecret", "slash"),
        ("wh/t%252fx", "slash"),
        ("wh/t%5Cx", "slash"),
        ("wh//t", "blank"),
        ("wh/%20/t", "blank"),
        ("wh/%E2%80%83/t", "blank"),
        ("wh/t%00/x", "control"),
        ("wh/t%C0%AE%C0%AE/x", "control"),
    ],
)
def test_what_a_store_could_read_as_another_path_is_refused(profile: str, root: str, path: str, because: str) -> None:
    refused(profile, f"{root}/{path}", because=because)


@known("lakekeeper#1740")
@pytest.mark.parametrize("path", ["wh/t\\..\\secret", "wh/t./x", "wh/.../x"])
def test_what_azure_alone_reads_as_another_path_is_refused_there(path: str) -> None:
    refused("azure", f"{ABFSS}/{path}", because="Azure")


@known("lakekeeper, Azure")
@pytest.mark.parametrize("name", ["a b", "50%", "a%20b", "\u00fc", "a+b", "a&sp=rwdl", "a=b", "x'y"])
def test_a_sas_is_signed_for_the_path_as_it_is_at_its_depth(name: str) -> None:
    policy = policy_of("azure", f"{ABFSS}/wh/{name}/t")
    assert azure_opens(policy, f"wh/{name}/t/data/1")
    for path in (f"wh/{name}/t2/1", f"wh/{name}", f"wh/{name}x/t/1", "wh/a/t/1", f"{name}/t/1", f"x/wh/{name}/t/1"):
        assert not azure_opens(policy, path), path


@known("apache/gravitino, partition")
@pytest.mark.parametrize(
    ("arn", "partition"),
    [
        ("arn:aws:iam::123456789012:role/aws-cn-reader", "aws"),
        ("arn:aws:iam::123456789012:role/path/aws-us-gov/x", "aws"),
        ("arn:aws-cn:iam::123456789012:role/arn.aws", "aws-cn"),
        ("arn:aws-us-gov:iam::123456789012:role/aws-cn", "aws-us-gov"),
    ],
)
def test_the_partition_is_the_roles_own_and_not_a_word_in_its_name(arn: str, partition: str) -> None:
    role = {**LAKE, "credentials": {**AWS_ROLE, "role_arn": arn}}
    policy = policy_of("role", "s3://lake/wh/t", role=role)
    for other in ("aws", "aws-cn", "aws-us-gov"):
        assert may(policy, "s3:GetObject", "lake", "wh/t/x", partition=other) == (other == partition)
        assert allowed(policy, "s3:GetBucketLocation", f"arn:{other}:s3:::lake") == (other == partition)


# -- more than was named -----------------------------------------------------------------------------------------------


@known("apache/polaris, Azure")
def test_a_directory_is_never_vended_as_its_whole_container_unless_the_profile_says_so() -> None:
    policy = policy_of("azure", f"{ABFSS}/wh/t")
    assert azure_opens(policy, "wh/t/x")
    assert not azure_opens(policy, "other/x")
    assert not azure_opens(policy, "wh/t/x", container="secret")
    # An account without a hierarchical namespace refuses it: it does not fall to the container.
    assert not azure_opens(policy, "wh/t/x", hierarchical=False)
    with opened() as broker, pytest.raises(ConfigurationError, match="one SAS opens one directory"):
        broker.storage("azure", f"{ABFSS}/wh/t", f"{ABFSS}/wh/u")
    with opened() as broker:
        # Where the profile says so, so does the grant.
        assert broker.storage("flat", f"{ABFSS}/wh/t").explain().locations == (Location.parse(ABFSS),)


@known("CVE-2026-42809")
def test_a_location_of_the_callers_choice_is_checked_before_any_issuer_is_asked() -> None:
    with opened() as broker:
        for location in ("s3://lake/victim", "s3://lake/wh2/t", "s3://other/wh/t", "s3://lake/"):
            for ask in (partial(broker.storage, "lake"), partial(storage_for, broker, "production")):
                with pytest.raises(AccessDenied, match=r"lies outside|no storage profile"):
                    ask(location)
    for location in ("s3://lake/victim", "gs://lake/victim", f"{ABFSS}/victim", "s3://victim/wh/t"):
        vended = entry(location, sas_of("t", 2) if location.startswith("abfss") else "KEYS")
        with pytest.raises(MalformedResponse, match="outside of what its profile allows"):
            table(location=location, credentials=[vended])
        # Where nothing is vended, no storage profile is asked either: none of them has the place.
        with pytest.raises(
            (AccessDenied, MalformedResponse), match=r"outside of what its profile allows|no storage profile"
        ):
            table(location=location, credentials=[])
        with pytest.raises(MalformedResponse, match="outside of what its profile allows"):
            table(location="s3://lake/wh/t", credentials=[entry("s3://lake/wh/t", "KEYS"), vended])


@known("CVE-2026-42812", "CVE-2026-42809")
@pytest.mark.parametrize("name", ["write.data.path", "write.metadata.path", "write.object-storage.path"])
@pytest.mark.parametrize("path", ["s3://lake/victim", "s3://victim/wh/t", "s3://lake/wh/../victim", "s3://lake/wh2"])
def test_each_path_of_a_tables_properties_is_checked_as_its_location_is(name: str, path: str) -> None:
    for vended in ([entry("s3://lake/wh/t", "KEYS")], []):
        with pytest.raises((AccessDenied, MalformedResponse), match=name):
            table(location="s3://lake/wh/t", credentials=vended, properties={name: path})


# -- a catalog that leads elsewhere ------------------------------------------------------------------------------------


def entry(prefix: str, key: str, **changes: str) -> dict[str, Any]:
    """A set of keys as a catalog vends it, each of them made of ``key``."""
    ends = str(int((NOW + timedelta(hours=1)).timestamp() * 1000))
    config = {"gcs.oauth2.token": key, "gcs.oauth2.token-expires-at": ends}
    if prefix.startswith("abfss"):
        config = {"adls.sas-token.account1": key}
    elif prefix.startswith("s3"):
        keys = {f"s3.{name}": key for name in ("access-key-id", "secret-access-key", "session-token")}
        config = {**keys, "s3.session-token-expires-at-ms": ends}
    return {"prefix": prefix, "config": {**config, **changes}}


def table(
    *,
    location: str,
    credentials: list[dict[str, Any]],
    properties: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    seen: list[HttpRequest] | None = None,
) -> TableCredentials:
    """What the broker makes of a catalog that answers so when it is asked for a table."""
    reply = {"metadata": {"location": location, "properties": properties or {}}, "storage-credentials": credentials}

    def answer(request: HttpRequest) -> HttpResponse:
        if seen is not None:
            seen.append(request)
        body = (config or {}) if "/v1/config" in request.url else reply
        return HttpResponse(200, {}, json.dumps(body).encode(), NOW, NOW)

    with opened(answer) as broker:
        return broker.table("production", "sales.orders").get()


def shown(value: TableCredentials, location: str) -> str:
    held: Any = value.for_location(location)
    secret: SecretStr = held.secret_access_key if hasattr(held, "secret_access_key") else held.access_token
    return secret.get_secret_value()


@known("apache/iceberg#16463", "apache/iceberg#16482")
@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/credentials",
        "http://catalog.example/api/v1/credentials",
        "//evil.example/credentials",
        "https://catalog.example@evil.example/",
        "https://catalog.example:444/api",
        "https://catalog.example.evil.example/",
        "\\\\evil.example\\credentials",
    ],
)
@pytest.mark.parametrize("name", ["client", "adls", "gcs.oauth2"])
def test_keys_are_not_taken_from_a_reply_that_would_send_the_token_to_another_origin(name: str, endpoint: str) -> None:
    seen: list[HttpRequest] = []
    keys = entry("s3://lake/wh/t", "KEYS", **{f"{name}.refresh-credentials-endpoint": endpoint})
    with pytest.raises(MalformedResponse, match="refresh-credentials-endpoint"):
        table(location="s3://lake/wh/t", credentials=[keys], seen=seen)
    assert all(request.url.startswith(f"{URI}/v1/") for request in seen)


@known("apache/iceberg#16470")
def test_what_a_catalogs_config_says_of_hosts_headers_and_proxies_is_not_heard() -> None:
    seen: list[HttpRequest] = []
    evil = {
        "uri": "https://evil.example",
        "oauth2-server-uri": "https://evil.example/token",
        "rest.auth.type": "none",
        "token": "evil",
        "header.Authorization": "Bearer evil",
        "header.X-Evil": "1",
        "proxy": "http://evil.example",
        "rest.client.proxy.hostname": "evil.example",
        "s3.endpoint": "https://evil.example",
        "prefix": "wh",
    }
    value = table(
        location="s3://lake/wh/t",
        credentials=[entry("s3://lake/wh/t", "KEYS", **{"s3.endpoint": "https://evil.example"})],
        config={"defaults": evil, "overrides": evil},
        seen=seen,
    )
    held: Any = value.for_location("s3://lake/wh/t/x")
    assert held.endpoint is None  # AWS's own: the storage profile that contains the table names no other
    assert {request.url.removeprefix(URI).partition("?")[0] for request in seen} == {
        "/v1/config",
        "/v1/wh/namespaces/sales/tables/orders",
    }
    for request in seen:
        assert request.headers["Authorization"] == "Bearer token-1"
        assert "evil" not in json.dumps(dict(request.headers))


@known("apache/iceberg#16470")
@pytest.mark.parametrize("prefix", ["../../admin", "wh/%2e%2e/admin", "wh?x=", "wh#", "..", "wh//x"])
def test_a_prefix_that_leads_to_other_routes_of_the_catalogs_host_is_refused(prefix: str) -> None:
    with pytest.raises(MalformedResponse, match="prefix"):
        table(location="s3://lake/wh/t", credentials=[], config={"overrides": {"prefix": prefix}})


def sas_of(directory: str, depth: int, ends: datetime = NOW + timedelta(hours=1)) -> str:
    fields = {**policy_of("azure", f"{ABFSS}/wh/{directory}", access="read"), "sdd": depth}
    return sign(fields, AZURE_KEY, ends).get_secret_value()


@known("apache/iceberg#16464")
def test_a_sas_serves_its_own_directory_of_its_own_account_and_no_other_path_of_either() -> None:
    value = table(location=f"{ABFSS}/wh/t", credentials=[entry(f"{ABFSS}/wh/t", sas_of("t", 2))])
    assert value.for_location(f"{ABFSS}/wh/t/x").locations == (Location.parse(f"{ABFSS}/wh/t"),)
    for elsewhere in (
        f"{ABFSS}/wh/t2/x",
        f"{ABFSS}/wh/u",
        ABFSS,
        f"{ABFSS}/wh/t".replace("data@", "secret@"),
        f"{ABFSS}/wh/t".replace("account1", "account2"),
    ):
        with pytest.raises(AccessDenied, match="lies outside"):
            value.for_location(elsewhere)
    other = {"prefix": f"{ABFSS}/wh/t", "config": {"adls.sas-token.account2": sas_of("t", 2)}}
    with pytest.raises(MalformedResponse, match="another storage account"):
        table(location=f"{ABFSS}/wh/t", credentials=[other])


@known("apache/polaris, Azure", "apache/iceberg#16464")
def test_a_sas_that_says_that_it_reaches_above_its_prefix_is_not_taken() -> None:
    container = sign(policy_of("flat", ABFSS, access="read"), AZURE_KEY, NOW + timedelta(hours=1)).get_secret_value()
    for wider, because in ((sas_of("t", 1), "one above that prefix"), (container, "whole container")):
        with pytest.raises(MalformedResponse, match=because):
            table(location=f"{ABFSS}/wh/t", credentials=[entry(f"{ABFSS}/wh/t", wider)])


@known("apache/polaris#4751")
def test_a_sas_ends_when_it_says_so_itself_and_not_when_the_catalog_does() -> None:
    soon, late = NOW + timedelta(minutes=20), NOW + timedelta(minutes=50)
    told = {"adls.sas-token-expires-at-ms.account1": str(int(late.timestamp() * 1000))}
    value = table(location=f"{ABFSS}/wh/t", credentials=[entry(f"{ABFSS}/wh/t", sas_of("t", 2, soon), **told)])
    assert value.expires_at == soon


# -- one value for two authorities -------------------------------------------------------------------------------------


@known("jtblin/kube2iam")
@pytest.mark.parametrize(
    "change",
    [
        {"credentials": {**AWS_ROLE, "external_id": "other"}},
        {"credentials": {**AWS_ROLE, "role_arn": "arn:aws:iam::123456789012:role/Other"}},
        {"credentials": {**AWS_ROLE, "sts_endpoint": "https://sts.eu-central-1.amazonaws.com"}},
        {"access": "read"},
        {"locations": ["s3://lake/wh/", "s3://lake/more/"]},
        {"max_ttl": "30m"},
        {"region": "eu-central-1"},
        {"endpoint": "https://store.example"},
        {"policy_escapes": False},
        {"kms_keys": ["arn:aws:kms:eu-west-1:123456789012:key/1"]},
    ],
)
def test_whatever_changes_the_authority_changes_the_key_that_a_value_is_held_under(change: dict[str, Any]) -> None:
    with opened() as one, opened(lake={**LAKE, **change}) as other:
        assert one.profile("storage", "lake").fingerprint() != other.profile("storage", "lake").fingerprint()
        keys = [broker._brokerage.slot(broker.storage("lake", "s3://lake/wh/t").request).key for broker in (one, other, one)]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]


# -- the list ----------------------------------------------------------------------------------------------------------


def test_every_published_attack_has_a_test() -> None:
    assert KNOWN == PUBLISHED


def test_a_refusal_is_one_of_ours_and_names_what_it_refuses() -> None:
    """Whatever is thrown at it by way of a location: an error of credbroker, and never a policy."""
    for text in ("", "s3://", "s3:///", "://", "s3://lake/\ud800", "s3://lake/" + "%25" * 400 + "2e", "gs://*/x", "s3://*"):
        with opened() as broker, pytest.raises(CredbrokerError) as caught:
            broker.storage("bucket", text)
        assert repr(text) in caught.value.message
