"""From the written file to the frozen profiles."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

from credbroker.config import from_data, load_files
from credbroker.config.credentials import CredentialsConfig
from credbroker.location import Location
from credbroker.profile import CatalogProfile, CredentialSettings, StorageProfile, SubjectToken
from credbroker.request import Access
from credbroker.secrets.reference import SecretReference

from .files import Files

LAKE = Location("s3", "lake", "")


def storage(**settings: object) -> StorageProfile:
    return from_data({"storage": {"a": settings}}).storage["a"]


def catalog(sections: dict[str, Any] | None = None, **settings: object) -> CatalogProfile:
    return from_data({"catalogs": {"a": settings}, **(sections or {})}).catalogs["a"]


def credentials(**settings: object) -> CredentialSettings:
    compiled = storage(credentials=settings).credentials
    assert compiled is not None
    return compiled


def test_every_setting_has_its_key() -> None:
    own = {field.name for field in fields(CredentialSettings)} - {"options"}
    assert own <= set(CredentialsConfig.model_fields)


def test_the_defaults_are_the_designs() -> None:
    profile = storage()
    assert profile.locations == ()
    assert profile.access is Access.READ
    assert profile.max_ttl == timedelta(hours=1)
    assert profile.credentials is None
    assert profile.production
    block = credentials()
    assert block.mode == "static"
    assert block.timeout == timedelta(seconds=10)
    assert block.token_endpoint_auth_method == "client_secret_basic"


def test_a_bucket_is_a_location_unless_locations_are_given() -> None:
    assert storage(bucket="lake").locations == (LAKE,)
    assert storage(bucket="lake", type="gcs").locations == (Location("gs", "lake", ""),)
    assert storage(bucket="lake", locations=["s3a://other/x"]).locations == (Location("s3", "other", "x"),)
    assert storage(bucket="lake", locations=[]).locations == ()
    assert storage(bucket="lake", type="local").locations == ()


def test_the_kind_of_store_is_told_by_its_locations_unless_the_type_says_it() -> None:
    assert storage().type == "s3"
    assert storage(locations=["gs://lake/sales/"]).type == "gcs"
    assert storage(locations=["abfss://lake@account.dfs.core.windows.net/sales/"]).type == "azure"
    assert storage(locations=["gs://lake/sales/"], type="s3").type == "s3"
    assert storage(locations=["gs://lake/sales/", "s3://lake/sales/"]).type == "s3"


def test_a_catalog_takes_the_locations_of_its_storage() -> None:
    sections = {"storage": {"one": {"bucket": "lake"}, "two": {"locations": ["s3://lake/", "s3://two/x/"]}}}
    profile = catalog(sections, storage=["two", "one"])
    assert profile.locations == (LAKE, Location("s3", "two", "x"))
    assert [one.name for one in profile.storage] == ["two", "one"]
    assert catalog(sections, storage="one", locations=["s3://lake/sales/"]).locations == (Location("s3", "lake", "sales"),)
    assert catalog(sections).locations == ()


def test_a_catalog_limits_access_only_where_it_says_so() -> None:
    assert catalog().access is Access.READ_WRITE
    assert catalog(access="read").access is Access.READ


def test_polaris_is_rest() -> None:
    assert catalog(type="polaris").type == "rest"
    assert catalog().type == "rest"
    assert catalog(type="glue").type == "glue"


def test_addresses_and_client_may_be_secrets() -> None:
    reference = SecretReference(secret_ref="name")
    assert catalog(uri={"secret_ref": "name"}).uri == reference
    assert storage(endpoint={"secret_ref": "name"}).endpoint == reference
    assert credentials(mode="oauth2", client_id={"secret_ref": "name"}).client_id == reference
    assert storage(endpoint="").endpoint is None


def test_a_missing_token_url_stays_missing_for_the_provider_to_build() -> None:
    block = credentials(mode="oauth2", client_id="svc", client_secret={"secret_ref": "s", "next": "t"})
    assert block.token_url is None
    assert block.client_secret == SecretReference(secret_ref="s", next="t")


def test_another_profile_is_named_with_its_section() -> None:
    sections = {"storage": {"base": {"credentials": {"mode": "static"}}}}
    block = catalog(sections, credentials={"mode": "iam_role", "source_profile": "base"}).credentials
    assert block is not None
    assert block.source_profile == ("storage", "base")


def test_an_exchanged_token_comes_from_a_file_a_secret_or_a_profile_of_the_own_section_first() -> None:
    assert credentials(subject_token={"file": "/t"}).subject_token == SubjectToken(file="/t")
    assert credentials(subject_token={"secret_ref": "s"}).subject_token == SubjectToken(
        secret=SecretReference(secret_ref="s")
    )
    exchange = {"mode": "oauth2", "subject_token": {"profile": "b"}}
    sections = {"compute": {"b": {}, "c": {"credentials": exchange}}}
    block = from_data({"catalogs": {"a": {"credentials": exchange}, "b": {}}, **sections})
    assert block.catalogs["a"].credentials == CredentialSettings(
        mode="oauth2", subject_token=SubjectToken(profile=("catalog", "b"))
    )
    assert block.compute["c"].credentials == CredentialSettings(
        mode="oauth2", subject_token=SubjectToken(profile=("compute", "b"))
    )
    elsewhere = catalog({"compute": {"b": {}}}, credentials=exchange).credentials
    assert elsewhere is not None
    assert elsewhere.subject_token == SubjectToken(profile=("compute", "b"))


def test_a_header_of_a_subject_token_is_a_text_or_a_secret_that_knows_where_it_stands() -> None:
    headers = {"Metadata": True, "Authorization": {"secret_ref": "bearer"}}
    subject = credentials(subject_token={"url": "https://ci.example/t", "headers": headers}).subject_token
    assert subject is not None
    assert subject.headers == {"Authorization": SecretReference(secret_ref="bearer"), "Metadata": "true"}
    reference = subject.headers["Authorization"]
    assert isinstance(reference, SecretReference)
    assert reference.where.endswith("credentials.subject_token.headers.Authorization")


def test_further_settings_of_oauth2_are_taken_over_in_a_fixed_order() -> None:
    block = credentials(mode="oauth2", resource=["https://b", "https://a"], parameters={"z": 1, "a": True})
    assert block.resource == ("https://b", "https://a")
    assert list(block.parameters.items()) == [("a", "true"), ("z", "1")]


def test_properties_of_a_catalog_are_texts() -> None:
    assert catalog(properties={"b": True, "a": 5}).properties == {"a": "5", "b": "true"}


def test_an_unknown_account_loads_and_is_the_providers_to_refuse() -> None:
    assert credentials(mode="iam_role", role_arn="arn:aws:iam::123456789:role/R").role_arn == "arn:aws:iam::123456789:role/R"


def test_a_profile_knows_its_place_and_the_environment() -> None:
    text = "environment: dev\nstorage:\n  lake: {}\n"
    profile = load_files(["dir/p.yaml"], Files({"dir/p.yaml": text})).storage["lake"]
    assert profile.where == "dir/p.yaml:3"
    assert not profile.production


def test_the_allowed_hosts_reach_the_catalogs_and_the_network() -> None:
    platform = from_data({"network": {"allowed_hosts": ["*.Example.org", "::1"]}, "catalogs": {"a": {}}})
    assert platform.network.allowed_hosts == ("*.example.org", "::1")
    assert platform.catalogs["a"].allowed_hosts == ("*.example.org", "::1")
    assert from_data({}).network.allowed_hosts is None
    assert from_data({"network": {"allowed_hosts": []}}).network.allowed_hosts == ()


def test_the_audit_is_required_in_production() -> None:
    assert from_data({}).audit.required
    assert from_data({"audit": {}}).audit.required
    assert not from_data({"environment": "dev"}).audit.required
    assert from_data({"environment": "dev", "audit": {"required": True}}).audit.required
    assert not from_data({"audit": {"enabled": False, "required": False}}).audit.required
    assert not from_data({"environment": "dev", "audit": {"enabled": False}}).audit.required
    some = {"sink": "file", "path": "a.jsonl", "include": ["data_access"], "log_level": "WARN", "required": False}
    audit = from_data({"audit": some}).audit
    assert (audit.sink, audit.path, audit.log_level) == ("file", "a.jsonl", "WARNING")
    assert audit.include == {"data_access"}
    assert len(from_data({}).audit.include) == 4


def test_the_default_backends_are_the_environment_then_files() -> None:
    backends = from_data({}).secret_backends
    assert [(backend.type, backend.path) for backend in backends] == [("env", None), ("files", "/var/run/secrets")]
