from __future__ import annotations

import pytest

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg import properties as allowed

REDIRECTING = [
    "uri",
    "URI",
    " uri ",
    "type",
    "prefix",
    "auth",
    "auth.type",
    "credential",
    "token",
    "scope",
    "audience",
    "resource",
    "oauth2-server-uri",
    "py-io-impl",
    "py-location-provider-impl",
    "py_io_impl",
    "header.authorization",
    "header.Authorization",
    "header.Proxy-Authorization",
    "header.Cookie",
    "header.Host",
    "header.Transfer-Encoding",
    "header.X-Iceberg-Access-Delegation",
    "header.X-Amz-Security-Token",
    "header.X-Forwarded-Host",
    "rest.sigv4-enabled",
    "rest.signing-name",
    "rest.signing-region",
    "s3.endpoint",
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.region",
    "s3.role-arn",
    "s3.anonymous",
    "s3.profile-name",
    "s3.proxy-uri",
    "s3.signer",
    "s3.signer.uri",
    "s3.signer.endpoint",
    "s3.retry-strategy-impl",
    "s3.sse-kms-key-id",
    "s3.resolve-region",
    "client.access-key-id",
    "client.region",
    "client.role-arn",
    "adls.account-name",
    "adls.sas-token.account",
    "adls.connection-string",
    "gcs.oauth2.token",
    "gcs.service.host",
    "hdfs.host",
    "hf.token",
    "glue.endpoint",
    "botocore_session",
    "ssl",
    "ssl.cabundle",
    "proxies",
    "auth.manager",
    "credbroker.files",
    "credbroker.profile",
    "DEFAULT_NETLOC_HOST",
    "signer.uri",
]
HARMLESS = {
    "rest-page-size": "100",
    "snapshot-loading-mode": "refs",
    "scan-planning-mode": "client",
    "rest-scan-planning-enabled": "false",
    "view-endpoints-supported": "true",
    "s3.connect-timeout": "5",
    "s3.request-timeout": 30,
    "buffer-size": "1048576",
    "echo": "false",
    "pool_pre_ping": "true",
    "init_catalog_tables": "true",
    "schema_version": "v1",
    "pyarrow.use-large-types-on-read": "false",
    "downcast-ns-timestamp-to-us-on-write": "true",
    "header.X-Team": "data",
    "write.target-file-size-bytes": "1000",
    "py-catalog-impl": "credbroker.integrations.pyiceberg.BrokerRestCatalog",
    "credbroker.access": "read",
}


@pytest.mark.parametrize("key", REDIRECTING)
def test_a_property_that_redirects_is_refused_by_name_and_without_its_value(key: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        allowed.refuse_redirects({key: "canary-value"}, warehouse=None)
    assert repr(key) in str(refusal.value)
    assert "canary-value" not in str(refusal.value)


def test_properties_that_only_tune_are_let_through() -> None:
    allowed.refuse_redirects(HARMLESS, warehouse=None)


def test_a_nested_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'echo' must be a text, not dict"):
        allowed.refuse_redirects({"echo": {"uri": "http://evil.example"}}, warehouse=None)


def test_a_warehouse_is_the_profiles_where_that_names_one() -> None:
    allowed.refuse_redirects({"warehouse": "anything"}, warehouse=None)
    allowed.refuse_redirects({"warehouse": "lake"}, warehouse="lake")
    with pytest.raises(ConfigurationError, match="'warehouse'"):
        allowed.refuse_redirects({"warehouse": "other"}, warehouse="lake")


def test_of_a_profiles_own_properties_those_that_redirect_are_told_apart() -> None:
    tuning, others = allowed.from_profile({"rest-page-size": "5", "token": "x", "s3.endpoint": "y"})
    assert tuning == {"rest-page-size": "5"}
    assert others == ["s3.endpoint", "token"]


@pytest.mark.parametrize("key", sorted({*REDIRECTING, "warehouse", "py-catalog-impl"} - {"prefix"}))
def test_a_server_is_not_listened_to_beyond_its_paths(key: str) -> None:
    assert allowed.from_server({key: "x", "prefix": "lake", "namespace-separator": "."}) == {
        "prefix": "lake",
        "namespace-separator": ".",
    }


@pytest.mark.parametrize("key", REDIRECTING)
def test_a_file_io_is_told_nothing_that_redirects(key: str) -> None:
    assert allowed.for_files({key: "x", "s3.connect-timeout": "5"}) == {"s3.connect-timeout": "5"}
