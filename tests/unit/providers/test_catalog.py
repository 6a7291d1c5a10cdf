from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.providers.fake_catalog import (
    AT_TABLE,
    ENDS,
    FROM_STORAGE,
    KEYS,
    NOW,
    REQUEST,
    TABLE,
    URI,
    FakeCatalog,
    FakeSecrets,
    Flight,
    issue,
    loaded,
    profile,
    s3,
    storage,
    vended,
)

from credbroker.context import HttpRequest, HttpResponse
from credbroker.credentials import Credential, S3Credentials
from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.location import Location
from credbroker.profile import CredentialSettings, StorageProfile
from credbroker.providers.catalog import CatalogProvider
from credbroker.request import Access, CredentialRequest
from credbroker.secrets.reference import SecretReference

# --- the calls --------------------------------------------------------------------------------------------------------


def test_a_table_is_loaded_with_delegation_and_its_keys_are_handed_on() -> None:
    catalog, flight = FakeCatalog(), Flight()
    value = issue(catalog, flight=flight)
    assert catalog.paths == ["/v1/config?warehouse=s3%3A%2F%2Fwh", f"{AT_TABLE}?snapshots=refs"]
    for request in catalog.seen:
        assert request.method == "GET"
        assert request.headers["Authorization"] == "Bearer token-1"
        assert request.headers["X-Iceberg-Access-Delegation"] == "vended-credentials"
    assert catalog.options[0] == {"timeout": 7.4, "allow_insecure": False, "on_connection": print}
    keys = s3(value)
    assert (keys.access_key_id, keys.region, keys.endpoint) == ("ASIAMADEUP", "eu-west-1", None)
    assert keys.secret_access_key.get_secret_value() == "vended-secret"
    assert (keys.locations, keys.access) == ((Location.parse(TABLE),), None)
    assert value.expires_at == ENDS


def test_the_token_is_the_catalog_profiles_for_the_same_access_and_caller() -> None:
    flight = Flight()
    issue(flight=flight)
    assert flight.asked == [
        CredentialRequest(
            kind="catalog", profile="production", access=Access.READ, principal="svc", actor="ana", run_id="42"
        )
    ]


def test_the_credentials_route_is_asked_where_the_server_lists_it() -> None:
    catalog = FakeCatalog(credentials={"storage-credentials": [vended()]}, table=(500, b""))
    assert s3(issue(catalog)).access_key_id == "ASIAMADEUP"
    assert catalog.paths[1:] == [f"{AT_TABLE}/credentials"]


@pytest.mark.parametrize("answer", [(404, b""), (405, b""), (501, b""), {"storage-credentials": []}, {}])
def test_the_table_is_loaded_where_the_credentials_route_gives_nothing(answer: object) -> None:
    catalog = FakeCatalog(credentials=answer)
    assert s3(issue(catalog)).access_key_id == "ASIAMADEUP"
    assert catalog.paths[1:] == [f"{AT_TABLE}/credentials", f"{AT_TABLE}?snapshots=refs"]


@pytest.mark.parametrize(
    ("answer", "raised"),
    [((403, b""), IssueDenied), ((503, b""), IssuerUnavailable), (b"<html>", MalformedResponse), ((400, b""), IssueDenied)],
)
def test_another_failure_of_the_credentials_route_is_one(answer: object, raised: type[CredbrokerError]) -> None:
    with pytest.raises(raised):
        issue(FakeCatalog(credentials=answer))


def test_without_a_prefix_or_warehouse_the_routes_are_plain() -> None:
    catalog = FakeCatalog(config={}, at="/v1/namespaces/sales%1Feu/tables/orders")
    issue(catalog, profile(warehouse=None, uri=URI + "/"))
    assert catalog.paths == ["/v1/config", f"{catalog.at}?snapshots=refs"]


def test_a_name_stays_one_segment_of_the_path() -> None:
    catalog = FakeCatalog(config={}, at="/v1/namespaces/a%2Fb%1F..x%3Fy/tables/%C3%A9%20%252e%23")
    issue(catalog, request=replace(REQUEST, table=("a/b", "..x?y", "é %2e#")))
    assert catalog.paths[-1] == f"{catalog.at}?snapshots=refs"


@pytest.mark.parametrize(
    "table", [None, (), ("orders",), ("sales", ""), ("..", "orders"), ("sales", "."), ("a\x1fb", "t"), ("a", "\n")]
)
def test_an_identifier_that_no_route_can_carry_is_refused_before_any_call(table: tuple[str, ...] | None) -> None:
    catalog = FakeCatalog()
    request = replace(REQUEST, table=table)
    for act in (lambda: CatalogProvider().plan(request, profile()), lambda: issue(catalog, request=request)):
        with pytest.raises(ConfigurationError):
            act()
    assert catalog.seen == []


def test_a_uri_from_a_secret_is_resolved_and_checked_at_issue() -> None:
    reference = SecretReference(secret_ref="catalog-uri")
    assert s3(issue(of=profile(uri=reference), secrets=FakeSecrets(**{"catalog-uri": URI}))).region == "eu-west-1"
    with pytest.raises(ConfigurationError, match="plain http"):
        issue(of=profile(uri=reference), secrets=FakeSecrets(**{"catalog-uri": "http://catalog.example"}))


def test_every_url_begins_with_the_profiles_own_uri_whatever_the_server_says() -> None:
    catalog = FakeCatalog(
        config={"overrides": {"prefix": "wh", "uri": "https://evil.example", "rest.endpoint": "https://evil.example"}},
        table=loaded(vended(), config={"uri": "https://evil.example", "token": "canary"}),
    )
    issue(catalog)
    assert all(request.url.startswith(f"{URI}/v1/") for request in catalog.seen)


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 419])
def test_a_refused_token_is_dropped_and_that_call_made_once_more(status: int) -> None:
    catalog, flight = FakeCatalog(refuses={"token-1": status}), Flight()
    assert s3(issue(catalog, flight=flight)).access_key_id == "ASIAMADEUP"
    assert [token for _, token in flight.invalidated] == ["token-1"]
    assert flight.invalidated[0][0] == flight.asked[0]
    assert [request.headers["Authorization"] for request in catalog.seen] == [
        "Bearer token-1",
        "Bearer token-2",
        "Bearer token-2",
    ]
    assert catalog.paths[0] == catalog.paths[1]


def test_a_token_refused_twice_is_an_authentication_failure() -> None:
    catalog, flight = FakeCatalog(refuses={"token-1": 401, "token-2": 401}), Flight()
    with pytest.raises(IssueDenied, match="token") as caught:
        issue(catalog, flight=flight)
    assert not caught.value.grant_denied
    assert len(catalog.seen) == 2
    assert len(flight.invalidated) == 1


def test_nothing_is_asked_again_where_the_broker_would_not_renew() -> None:
    catalog, flight = FakeCatalog(refuses={"token-1": 401}), Flight(allows_invalidate=False)
    with pytest.raises(IssueDenied):
        issue(catalog, flight=flight)
    assert len(catalog.seen) == 1


# --- what is believed of an answer ------------------------------------------------------------------------------------


def test_several_prefixes_keep_their_own_keys_and_the_earliest_end_counts() -> None:
    early = str(int((NOW + timedelta(minutes=5)).timestamp() * 1000))
    catalog = FakeCatalog(
        table=loaded(vended(), vended("s3://data/x", **{"access-key-id": "OTHER", "session-token-expires-at-ms": early}))
    )
    value = issue(catalog)
    assert (s3(value).access_key_id, s3(value, "s3://data/x/f").access_key_id) == ("ASIAMADEUP", "OTHER")
    assert value.expires_at == NOW + timedelta(minutes=5)


def test_config_keys_count_for_the_tables_own_location() -> None:
    value = issue(FakeCatalog(table=loaded(config=KEYS)))
    assert value.locations == (Location.parse(TABLE),)


@pytest.mark.parametrize(
    "settings",
    [
        {"locations": (Location.parse("s3://lake/wh"),)},
        {"storage": (storage("lake", "s3://lake/wh"),)},
    ],
)
@pytest.mark.parametrize("prefix", ["s3://lake/wh2/orders", "s3://lake", "s3://other/wh/orders"])
def test_a_prefix_outside_of_the_profiles_locations_is_refused(settings: dict[str, Any], prefix: str) -> None:
    bounded = profile(**settings)
    assert issue(of=bounded).locations == (Location.parse(TABLE),)
    for catalog in (
        FakeCatalog(table=loaded(vended(), vended(prefix))),
        FakeCatalog(credentials={"storage-credentials": [vended(prefix)]}),
        FakeCatalog(table=loaded(vended(), location=prefix)),
    ):
        with pytest.raises(MalformedResponse, match="outside of what its profile allows") as caught:
            issue(catalog, bounded)
        field = "catalogs.production.locations" if "locations" in settings else "storage.lake.locations"
        assert str(caught.value).endswith(f"add it to {field}")


def test_without_locations_the_catalog_is_believed() -> None:
    assert issue(FakeCatalog(table=loaded(vended("s3://any/where"), location="s3://any/where"))).locations == (
        Location.parse("s3://any/where"),
    )


def test_endpoint_and_region_are_the_storage_profiles_whatever_the_catalog_says() -> None:
    wide = storage("wide", "s3://lake", endpoint="https://wide.example", region="us-east-1")
    near = storage("near", "s3://lake/wh", endpoint="https://near.example", region="home")
    evil = FakeCatalog(table=loaded(vended(endpoint="https://evil.example")))
    keys = s3(issue(evil, profile(storage=(wide, near))))
    assert (keys.endpoint, keys.region) == ("https://near.example", "home")
    own = storage("own", "s3://lake/wh")
    keys = s3(issue(evil, profile(storage=(own,))))
    assert (keys.endpoint, keys.region) == (None, "eu-west-1")  # a region leads to a host of AWS's own at most


def test_a_storage_profiles_endpoint_may_be_a_secret() -> None:
    secret = storage("near", "s3://lake/wh", endpoint=SecretReference(secret_ref="e"))
    keys = s3(issue(of=profile(storage=(secret,)), secrets=FakeSecrets(e="https://near.example")))
    assert keys.endpoint == "https://near.example"
    with pytest.raises(ConfigurationError, match="plain http"):
        issue(of=profile(storage=(secret,)), secrets=FakeSecrets(e="http://near.example"))


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.eu-west-1.amazonaws.com",
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "https://catalog.example:9000",
        "https://store.internal",
        "https://a.b.stores.example",
    ],
)
def test_a_vended_endpoint_is_taken_from_aws_the_catalogs_host_and_allowed_hosts(endpoint: str) -> None:
    allowing = profile(allowed_hosts=("store.internal", "*.stores.example"))
    assert s3(issue(FakeCatalog(table=loaded(vended(endpoint=endpoint))), allowing)).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example",
        "https://s3.us-east-1.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com.evil.example",
        "https://evil.s3.eu-west-1.amazonaws.com",
        "https://evilstores.example",
        "https://evil.example\\.stores.example",
        "https://evil.example%2f.stores.example",
        "https://catalog.example.evil.example",
        "https://catalog.example@evil.example",
        "http://catalog.example",
        "http://store.internal",
        "ftp://catalog.example",
        "catalog.example",
        "https://catalog.example/?x",
        "https://[",
        "https://catalog.example:x",
    ],
)
def test_any_other_vended_endpoint_is_refused(endpoint: str) -> None:
    allowing = profile(allowed_hosts=("store.internal", "*.stores.example"))
    with pytest.raises(MalformedResponse, match="endpoint"):
        issue(FakeCatalog(table=loaded(vended(endpoint=endpoint))), allowing)


@pytest.mark.parametrize(
    "host",
    [
        "evil-1.us-east-1.elb.amazonaws.com",
        "abc.execute-api.eu-west-1.amazonaws.com",
        "ec2-1-2-3-4.compute-1.amazonaws.com",
        "ec2-1-2-3-4.compute-1.amazonaws.com.",
        "EVIL.elb.amazonaws.com",
        "evil.elb.cn-north-1.amazonaws.com.cn",
        "s3.us-east-1.amazonaws.com",
    ],
)
def test_a_name_below_amazonaws_that_any_customer_may_have_needs_an_entry_of_its_own(host: str) -> None:
    answering = FakeCatalog(table=loaded(vended(endpoint=f"https://{host}")))
    wide = ("*.amazonaws.com", "*.amazonaws.com.cn", "*.com", "*.elb.amazonaws.com")
    with pytest.raises(MalformedResponse, match=r"does not count below amazonaws\.com"):
        issue(answering, profile(allowed_hosts=wide))
    assert s3(issue(answering, profile(allowed_hosts=(*wide, host)))).endpoint == f"https://{host}"


def test_aws_s_own_endpoint_for_the_region_needs_no_entry() -> None:
    answering = FakeCatalog(table=loaded(vended(endpoint="https://s3.eu-west-1.amazonaws.com")))
    assert s3(issue(answering, profile(allowed_hosts=("*.amazonaws.com",)))).region == "eu-west-1"


def test_an_end_that_is_not_stated_is_the_profiles_default_or_an_error() -> None:
    silent = FakeCatalog(table=loaded(vended(**{"session-token-expires-at-ms": None})))
    with pytest.raises(MalformedResponse, match="default_ttl"):
        issue(silent)
    assumed = profile(credentials=CredentialSettings(mode="oauth2", default_ttl=timedelta(minutes=10)))
    assert issue(silent, assumed).expires_at == NOW + timedelta(minutes=10)


def test_a_server_clock_that_runs_ahead_gives_no_more_life() -> None:
    value = issue(FakeCatalog(headers={"date": "Sun, 22 Nov 2026 20:30:00 GMT"}))
    assert value.expires_at is not None
    assert NOW + timedelta(minutes=29, seconds=58) < value.expires_at <= NOW + timedelta(minutes=30)


# --- where nothing is vended ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delegation", ["vended-credentials", "none"])
def test_the_storage_profile_that_contains_the_table_serves_it(delegation: str) -> None:
    stores = (storage("wide", "s3://lake"), storage("near", "s3://lake/wh"), storage("far", "s3://pond"))
    catalog = FakeCatalog(table=loaded() if delegation != "none" else loaded(vended()))
    flight = Flight(storage=FROM_STORAGE)
    value = issue(catalog, profile(storage=stores, access_delegation=delegation), flight)
    assert value.by_location == ((Location.parse(TABLE), FROM_STORAGE),)
    assert flight.asked[-1] == CredentialRequest(
        kind="storage",
        profile="near",
        locations=(Location.parse(TABLE),),
        access=Access.READ,
        principal="svc",
        actor="ana",
        run_id="42",
    )
    assert ("X-Iceberg-Access-Delegation" in catalog.seen[-1].headers) == (delegation != "none")


def test_the_folders_that_a_table_names_are_asked_for_with_it_once_for_each_storage_profile() -> None:
    stores = (storage("near", "s3://lake/wh", "s3://blocks"), storage("far", "s3://pond"), storage("other", "s3://other"))
    paths = {
        "write.data.path": "s3://blocks/orders",
        "write.metadata.path": "s3://pond/meta",
        "write.object-storage.path": f"{TABLE}/data",
    }
    flight = Flight(storage=FROM_STORAGE)
    value = issue(FakeCatalog(table=loaded(**paths)), profile(storage=stores), flight)
    asked = {request.profile: [str(place) for place in request.locations] for request in flight.asked[1:]}
    assert asked == {"near": ["s3://blocks/orders/", f"{TABLE}/"], "far": ["s3://pond/meta/"]}
    assert len(flight.asked) == 3
    assert [str(prefix) for prefix in value.prefixes] == ["s3://blocks/orders/", f"{TABLE}/", "s3://pond/meta/"]
    assert value.locations is None  # what is granted is the storage profile's value's to state, and this one does not
    assert value.for_location(f"{TABLE}/data/x") is FROM_STORAGE
    with pytest.raises(AccessDenied, match="lies outside"):
        value.for_location("s3://blocks/orders2/x")


@pytest.mark.parametrize("delegation", ["vended-credentials", "none"])
def test_a_storage_profile_serves_no_table_outside_of_the_catalogs_own_locations(delegation: str) -> None:
    of = profile(
        storage=(storage("near", "s3://lake/wh"),),
        locations=(Location.parse("s3://lake/wh/sales"),),
        access_delegation=delegation,
    )
    flight = Flight(storage=FROM_STORAGE)
    with pytest.raises(MalformedResponse, match=r"as the table's location, outside of .*catalogs\.production\.locations"):
        issue(FakeCatalog(table=loaded()), of, flight)
    assert [request.kind for request in flight.asked] == ["catalog"]


@pytest.mark.parametrize(("asked", "stored"), [(Access.READ_WRITE, Access.READ_WRITE), (None, Access.READ)])
def test_a_storage_profile_is_asked_for_the_access_of_the_table(asked: Access | None, stored: Access) -> None:
    flight = Flight(storage=FROM_STORAGE)
    request = replace(REQUEST, access=asked)
    issue(FakeCatalog(table=loaded()), profile(storage=(storage("near", "s3://lake/wh"),)), flight, request=request)
    assert flight.asked[-1].access is stored


def test_a_folder_in_the_profile_that_no_storage_profile_contains_is_refused_before_any_is_asked() -> None:
    of = profile(storage=(storage("near", "s3://lake/wh"),), locations=(Location.parse("s3://lake"),))
    flight = Flight(storage=FROM_STORAGE)
    with pytest.raises(AccessDenied, match=r"s3://lake/meta/, and no storage profile has it \(near: s3://lake/wh/\)"):
        issue(FakeCatalog(table=loaded(**{"write.metadata.path": "s3://lake/meta"})), of, flight)
    assert [request.kind for request in flight.asked] == ["catalog"]


@pytest.mark.parametrize(
    ("delegation", "why"),
    [("vended-credentials", "the catalog vends nothing"), ("none", "no keys are asked of the catalog")],
)
def test_an_error_of_the_storage_profile_says_how_it_came_to_be_asked(delegation: str, why: str) -> None:
    class Failing(Flight):
        def get(self, request: CredentialRequest) -> Credential:
            if request.kind == "storage":
                raise IssueDenied(
                    "no", grant_denied=True, profile="near", provider="iam_role", retry_after=timedelta(seconds=3)
                )
            return super().get(request)

    with pytest.raises(IssueDenied) as caught:
        issue(
            FakeCatalog(table=loaded()),
            profile(storage=(storage("near", "s3://lake/wh"),), access_delegation=delegation),
            Failing(),
        )
    assert str(caught.value) == f"{why} for sales.eu.orders; its storage profile 'near' is used: no"
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert (str(arrived), arrived.args) == (str(caught.value), caught.value.args)
    assert (arrived.profile, arrived.provider, arrived.grant_denied) == ("near", "iam_role", True)
    assert arrived.retry_after == timedelta(seconds=3)


def test_without_delegation_the_credentials_route_is_not_asked() -> None:
    catalog = FakeCatalog(credentials={"storage-credentials": [vended()]})
    flight = Flight(storage=FROM_STORAGE)
    issue(catalog, profile(storage=(storage("near", "s3://lake/wh"),), access_delegation="none"), flight)
    assert catalog.paths[1:] == [f"{AT_TABLE}?snapshots=refs"]


@pytest.mark.parametrize(("stores", "named"), [((), "it has none"), ((storage("far", "s3://pond/x"),), "far: s3://pond/x/")])
def test_no_storage_profile_for_the_table_lists_what_there_is(stores: tuple[StorageProfile, ...], named: str) -> None:
    with pytest.raises(AccessDenied, match=named) as caught:
        issue(FakeCatalog(table=loaded()), profile(storage=stores))
    assert TABLE in str(caught.value)


# --- signed with a role's keys ----------------------------------------------------------------------------------------

SIGNED = CredentialSettings(mode="iam_role", role_arn="arn:aws:iam::123456789012:role/Pipe", credential_source="environment")
GLUE_REST: dict[str, Any] = {
    "credentials": SIGNED,
    "region": "eu-west-1",
    "warehouse": "123456789012",
    "properties": {"rest.sigv4-enabled": "true", "rest.signing-name": "glue"},
}


ROLES_KEYS = S3Credentials("ASIAROLE", SecretStr("role-secret"), SecretStr("role-token"), expires_at=ENDS)


class SignedFlight(Flight):
    """The broker's flight for a catalog whose own credentials are keys: ``ASIAROLE``, then ``ASIANEXT``."""

    def get(self, request: CredentialRequest) -> Credential:
        if request.kind != "catalog":
            return super().get(request)
        return replace(ROLES_KEYS, access_key_id="ASIANEXT") if self.invalidated else ROLES_KEYS

    def invalidate(self, request: CredentialRequest, value: Credential) -> bool:
        assert value is ROLES_KEYS
        self.invalidated.append((request, ROLES_KEYS.access_key_id))
        return self.allows_invalidate


def test_a_catalog_that_takes_signatures_is_asked_with_the_roles_keys() -> None:
    catalog = FakeCatalog(table=loaded(vended()))
    assert s3(issue(catalog, profile(**GLUE_REST), SignedFlight())).access_key_id == "ASIAMADEUP"
    assert catalog.paths == ["/v1/config?warehouse=123456789012", f"{AT_TABLE}?snapshots=refs"]
    for request in catalog.seen:
        signature = request.headers["Authorization"]
        assert signature.startswith("AWS4-HMAC-SHA256 Credential=ASIAROLE/")
        assert (
            "/eu-west-1/glue/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-" in signature
        )
        assert request.headers["X-Amz-Security-Token"] == "role-token"
        assert request.headers["X-Iceberg-Access-Delegation"] == "vended-credentials"


def test_an_answer_that_repeats_the_keys_is_shown_without_them() -> None:
    catalog = FakeCatalog(table=loaded(location="s3://evil/role-token"))
    with pytest.raises(CredbrokerError) as caught:
        issue(catalog, profile(**GLUE_REST, storage=(storage("lake", "s3://lake/wh"),)), SignedFlight())
    assert "role-token" not in str(caught.value)


class RefusingKeys(FakeCatalog):
    """Gives ``refusal`` to what ``refused`` signed, by HTTP 403, by which AWS also says that a right is missing."""

    refused: tuple[str, ...] = ("ASIAROLE",)
    refusal: object = b""

    def send(self, request: HttpRequest, **options: Any) -> HttpResponse:
        answer = super().send(request, **options)
        signed_by = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        return self._answer((403, self.refusal)) if signed_by in self.refused else replace(answer, headers={})


REFUSALS: list[tuple[dict[str, str], object]] = [
    ({"x-amzn-errortype": "ExpiredTokenException:http://internal.amazon.com/"}, {"message": "expired"}),
    ({}, {"__type": "com.amazonaws.glue#UnrecognizedClientException", "message": "no"}),
    ({}, {"Code": "InvalidSignatureException", "Message": "Signature expired: 20260101T000000Z is now earlier than"}),
    ({}, {"error": {"type": "InvalidClientTokenId", "code": 403, "message": "no"}}),
    ({}, b"<Error><Code>ExpiredToken</Code></Error>"),
]


@pytest.mark.parametrize(("headers", "refusal"), REFUSALS)
def test_keys_that_are_refused_are_dropped_and_that_call_made_once_more(headers: dict[str, str], refusal: object) -> None:
    catalog, flight = RefusingKeys(headers=headers), SignedFlight()
    catalog.refusal = refusal
    assert s3(issue(catalog, profile(**GLUE_REST), flight)).access_key_id == "ASIAMADEUP"
    assert [key for _, key in flight.invalidated] == ["ASIAROLE"]
    assert ["ASIAROLE" in request.headers["Authorization"] for request in catalog.seen] == [True, False, False]


@pytest.mark.parametrize(("headers", "refusal"), REFUSALS)
@pytest.mark.parametrize("allowed", [True, False])
def test_keys_that_stay_refused_end_nothing_that_is_held(headers: dict[str, str], refusal: object, allowed: bool) -> None:
    catalog, flight = RefusingKeys(headers=headers), SignedFlight(allows_invalidate=allowed)
    catalog.refusal, catalog.refused = refusal, ("ASIAROLE", "ASIANEXT")
    with pytest.raises(IssueDenied, match=r"refuses the keys that signed the call \(HTTP 403\).*clock") as caught:
        issue(catalog, profile(**GLUE_REST), flight)
    assert not caught.value.grant_denied
    assert len(catalog.seen) == (2 if allowed else 1)


@pytest.mark.parametrize("refusal", [b"", b"<html>", [], {"__type": "AccessDeniedException"}, {"error": "ExpiredToken"}])
def test_any_other_403_is_a_right_that_is_missing(refusal: object) -> None:
    catalog, flight = RefusingKeys(), SignedFlight()
    catalog.refusal = refusal
    with pytest.raises(IssueDenied, match="grants") as caught:
        issue(catalog, profile(**GLUE_REST), flight)
    assert caught.value.grant_denied
    assert flight.invalidated == []


def test_keys_where_a_token_is_due_are_sent_nowhere() -> None:
    catalog = FakeCatalog()
    with pytest.raises(ConfigurationError, match="are no token"):
        issue(catalog, profile(), SignedFlight())
    with pytest.raises(ConfigurationError, match="are no keys"):
        issue(catalog, profile(**GLUE_REST))
    assert catalog.seen == []


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"type": "glue"}, "a catalog of type 'glue' takes signed requests alone"),
        ({"type": "s3tables"}, "a catalog of type 's3tables' takes signed requests alone"),
        ({"type": "glue", "credentials": SIGNED}, "'glue', which vends nothing"),
        ({"type": "s3tables", "credentials": SIGNED}, "'s3tables', which vends nothing"),
        ({"credentials": SIGNED}, r"properties\.rest\.sigv4-enabled must be true"),
        ({"type": "sql"}, "BrokerSqlCatalog"),
        ({"type": "hive"}, "'hive' is not supported by this version"),
        ({"access_delegation": "remote-signing"}, "'remote-signing' is not supported"),
        ({"uri": None}, "uri is missing"),
        ({"uri": "http://catalog.example"}, "uri is plain http"),
        ({"uri": "https://catalog.example/?a=b"}, "uri has a query"),
        ({"credentials": None}, "credentials is missing"),
        (
            {"storage": (storage("near", "s3://lake", endpoint="http://near.example"),)},
            "storage.near.endpoint is plain http",
        ),
    ],
)
def test_a_catalog_that_cannot_be_asked_is_refused_when_the_handle_is_made(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        CatalogProvider().plan(REQUEST, profile(**settings))


def test_a_storage_profile_is_no_catalog() -> None:
    with pytest.raises(ConfigurationError, match="no catalog"):
        CatalogProvider().plan(REQUEST, storage("lake"))


def test_the_plan_says_where_the_credentials_may_lie_and_no_more() -> None:
    assert CatalogProvider().plan(REQUEST, profile(type="polaris")).locations is None
    grant = CatalogProvider().plan(REQUEST, profile(storage=(storage("near", "s3://lake/wh"),)))
    assert (grant.policy, grant.locations, grant.access) == (None, (Location.parse("s3://lake/wh"),), None)


def missing(kind: str) -> bytes:
    return json.dumps({"error": {"type": kind, "message": "canary", "code": 404}}).encode()


@pytest.mark.parametrize(
    ("answer", "raised", "named"),
    [
        ((403, b"canary"), IssueDenied, "grants"),
        ((404, missing("NoSuchTableException")), IssueDenied, "'sales.eu.orders'.*may not see"),
        ((404, b"canary"), IssueDenied, "404"),
        ((400, b"canary"), IssueDenied, "HTTP 400"),
        ((429, b"canary"), IssuerUnavailable, "429"),
        ((502, b"canary"), IssuerUnavailable, "502"),
        (b"canary", MalformedResponse, "no JSON"),
        ([], MalformedResponse, "no JSON object"),
        ({"config": {}}, MalformedResponse, "no location"),
    ],
)
def test_each_answer_has_its_error_and_none_repeats_it(answer: object, raised: type[CredbrokerError], named: str) -> None:
    with pytest.raises(raised, match=named) as caught:
        issue(FakeCatalog(table=answer))
    for secret in ("canary", "token-1", "vended-secret"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "withdrawn"),
    [
        ((403, b""), True),
        # No keys were shown, so it is no word on them.
        ((403, {"__type": "ExpiredTokenException"}), True),
        ((404, missing("NoSuchTableException")), True),
        ((404, b"<html>"), False),
        ((400, b""), False),
    ],
)
def test_only_the_catalogs_own_word_counts_as_a_withdrawn_grant(answer: object, withdrawn: bool) -> None:
    with pytest.raises(IssueDenied) as caught:
        issue(FakeCatalog(table=answer))
    assert caught.value.grant_denied is withdrawn


def test_a_busy_catalog_says_when_to_come_back() -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        issue(FakeCatalog(config=(503, b""), headers={"retry-after": "7"}))
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_uri_where_no_catalog_answers_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="uri"):
        issue(FakeCatalog(config=(404, b"")))
