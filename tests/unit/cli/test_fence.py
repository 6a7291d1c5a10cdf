from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from pydantic import SecretStr

from credbroker.cli.fence import Attempt, Outcome, Store, TokenService, meaning
from credbroker.credentials import S3Credentials
from credbroker.integrations.endpoint import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

KEYS = S3Credentials("AKIAEXAMPLE", SecretStr("secret-key"), SecretStr("session-token"))
AWS = Endpoint("https://s3.eu-west-1.amazonaws.com", "eu-west-1", virtual=True, proxy=None, ca_file=None)


def stated(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        ("AccessDenied", 403, Outcome.REFUSED),
        ("NoSuchKey", 404, Outcome.LOOKED),
        ("404", 404, Outcome.LOOKED),
        ("InvalidObjectState", 403, Outcome.LOOKED),
        ("InvalidAccessKeyId", 403, Outcome.OTHER),
        ("ExpiredToken", 400, Outcome.OTHER),
        ("SignatureDoesNotMatch", 403, Outcome.OTHER),
        ("403", 403, Outcome.OTHER),
        ("PermanentRedirect", 301, Outcome.OTHER),
        ("NotImplemented", 501, Outcome.SILENT),
        ("InternalError", 500, Outcome.SILENT),
        ("SlowDown", 503, Outcome.SILENT),
        ("SlowDown", 400, Outcome.SILENT),
        ("TooManyRequests", 429, Outcome.SILENT),
    ],
)
def test_only_access_denied_is_a_fence(code: str, status: int, outcome: Outcome) -> None:
    assert meaning(stated(code, status))[0] is outcome


def test_to_find_nothing_is_to_have_looked() -> None:
    attempt = Attempt("read", *meaning(stated("NoSuchKey", 404)))
    assert (attempt.allowed, attempt.refused, attempt.answer) == (True, False, "NoSuchKey")


def test_a_code_without_an_error_around_it_is_read_too() -> None:
    """As botocore reads what Ceph's STS answers."""
    error = ClientError({"Code": "AccessDenied", "ResponseMetadata": {"HTTPStatusCode": 403}}, "AssumeRole")  # type: ignore[typeddict-unknown-key, typeddict-item]
    assert meaning(error) == (Outcome.REFUSED, "AccessDenied")


def test_what_is_absent_is_neither_allowed_nor_refused() -> None:
    attempt = Attempt("read", Outcome.ABSENT, "NoSuchKey")
    assert (attempt.kept, attempt.allowed, attempt.refused) == (True, False, False)


@pytest.mark.parametrize("code", ["", "session-token", "\x1b[2K", "A" * 49, "Access Denied"])
def test_a_code_that_is_none_is_not_repeated(code: str) -> None:
    assert meaning(stated(code, 403)) == (Outcome.OTHER, "HTTP 403")


def test_what_raises_no_answer_is_named_by_its_class_alone() -> None:
    def call(s3: S3Client) -> None:
        raise EndpointConnectionError(endpoint_url="https://user:hunter2@elsewhere")

    attempt = Store(AWS).attempt("read", KEYS, call, grant="read")
    assert attempt == Attempt("read", Outcome.UNREACHED, "no answer (EndpointConnectionError)", "read")


def test_what_was_sent_may_have_been_done_though_no_answer_came() -> None:
    def call(s3: S3Client) -> None:
        raise ReadTimeoutError(endpoint_url="https://elsewhere")

    attempt = Store(AWS).attempt("write", KEYS, call)
    assert (attempt.outcome, attempt.unanswered, attempt.allowed, attempt.refused) == (Outcome.SILENT, True, False, False)


@pytest.fixture
def _ambient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile other]\nregion = us-west-2\nca_bundle = /nowhere\ns3 =\n  addressing_style = path\n")
    for name, value in {
        "AWS_PROFILE": "not-there",
        "AWS_CONFIG_FILE": str(config),
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "AKIAOTHER",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
        "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_DATA_PATH": "/nowhere",
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_ambient")
def test_a_client_asks_the_environment_nothing() -> None:
    client = Store(AWS).client(KEYS)
    try:
        signed = client._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined]
        assert (signed.access_key, signed.secret_key, signed.token) == ("AKIAEXAMPLE", "secret-key", "session-token")
        assert (client.meta.endpoint_url, client.meta.region_name) == (AWS.url, "eu-west-1")
        session = client._endpoint.http_session  # type: ignore[attr-defined]
        assert (session._proxy_config._proxies, session._verify) == ({}, True)
        assert client.meta.config.retries == {"total_max_attempts": 1, "mode": "legacy"}
        assert client.meta.config.s3["addressing_style"] == "virtual"
    finally:
        client.close()


@pytest.mark.usefixtures("_ambient")
def test_nor_does_one_of_sts() -> None:
    place = Endpoint("https://sts.eu-west-1.amazonaws.com/", "eu-west-1", virtual=False, proxy=None, ca_file="/ca.pem")
    seen = []

    def call(sts: STSClient) -> None:
        signed = sts._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined]
        assert (signed.access_key, signed.secret_key, signed.token) == ("AKIAEXAMPLE", "secret-key", "session-token")
        session = sts._endpoint.http_session  # type: ignore[attr-defined]
        assert (session._proxy_config._proxies, session._verify) == ({}, "/ca.pem")
        assert sts.meta.config.retries == {"total_max_attempts": 1, "mode": "legacy"}
        assert sts.meta.config.connect_timeout == sts.meta.config.read_timeout == 10.0  # type: ignore[attr-defined]
        seen.append((sts.meta.service_model.service_name, sts.meta.endpoint_url, sts.meta.region_name))

    assert TokenService(place).attempt("assume", KEYS, call).outcome is Outcome.DONE
    assert seen == [("sts", "https://sts.eu-west-1.amazonaws.com/", "eu-west-1")]


def test_the_profiles_proxy_and_certificates_are_used() -> None:
    place = Endpoint("https://store.internal", "eu-west-1", virtual=False, proxy="http://proxy:3128", ca_file="/ca.pem")
    client = Store(place).client(KEYS)
    try:
        session = client._endpoint.http_session  # type: ignore[attr-defined]
        assert session._proxy_config._proxies == {"http": "http://proxy:3128", "https": "http://proxy:3128"}
        assert session._verify == "/ca.pem"
        assert client.meta.config.s3["addressing_style"] == "path"
    finally:
        client.close()
