from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.credentials import ContainerProvider, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError
from botocore.utils import ContainerMetadataFetcher
from pydantic import SecretStr
from tests.unit.sidecar.protocol_server import ENDS, TOKEN, ProtocolServer, ask, place

from credbroker.credentials import S3Credentials
from credbroker.sidecar.protocol import Refusal
from credbroker.sidecar.protocols.aws_container import PROTOCOL

KEYS = S3Credentials("ASIAEXAMPLE", SecretStr("secret/key+x"), SecretStr("session=="), region="eu-central-1")


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer("aws-container", KEYS) as running:
        yield running


def _botocore(server: ProtocolServer, token_file: Path) -> ContainerProvider:
    variables = {
        **server.protocol.environment(server.place),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token_file),
    }
    return ContainerProvider(environ=variables, fetcher=ContainerMetadataFetcher(sleep=lambda seconds: None))


def test_the_answer_is_the_four_fields() -> None:
    (route,) = PROTOCOL.routes
    assert route.answer is not None
    assert json.loads(route.answer(ask(), KEYS, ENDS).body) == {
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "secret/key+x",
        "Token": "session==",
        "Expiration": "2026-11-22T20:50:00Z",
    }


def test_botocore_takes_it(server: ProtocolServer, tmp_path: Path) -> None:
    file = tmp_path / "lake-read.token"
    file.write_text(TOKEN)
    credentials = _botocore(server, file).load()
    assert isinstance(credentials, RefreshableCredentials)
    frozen = credentials.get_frozen_credentials()
    assert (frozen.access_key, frozen.secret_key, frozen.token) == ("ASIAEXAMPLE", "secret/key+x", "session==")
    assert not credentials.refresh_needed(refresh_in=55 * 60)
    assert credentials.refresh_needed(refresh_in=65 * 60)
    assert server.seen[0].headers["authorization"] == TOKEN
    assert server.seen[0].path == "/lake-read/aws-container"


def test_botocore_shows_what_it_was_refused_with(server: ProtocolServer, tmp_path: Path) -> None:
    file = tmp_path / "lake-read.token"
    file.write_text("another")
    with pytest.raises(CredentialRetrievalError, match=r'401 .*"code": "Unauthorized", "message": "the token'):
        _botocore(server, file).load()


def test_an_error_is_a_code_and_a_message() -> None:
    told = PROTOCOL.refusal(Refusal(503, "IssuerUnavailable", "no answer in time", retry_after=2))
    assert json.loads(told.body) == {"code": "IssuerUnavailable", "message": "no answer in time"}


def test_the_variables_name_the_token_by_its_file_alone() -> None:
    assert PROTOCOL.environment(place()) == {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:8642/lake-read/aws-container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/run/credbroker/lake-read.token",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_region_and_endpoint_are_told_where_they_are_known() -> None:
    variables = PROTOCOL.environment(place(region="eu-central-1", endpoint="https://s3.example"))
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert variables["AWS_ENDPOINT_URL_S3"] == variables["AWS_ENDPOINT"] == "https://s3.example"
    # It would send every other service of the AWS SDKs to the object store.
    assert "AWS_ENDPOINT_URL" not in variables
    assert "AWS_ALLOW_HTTP" not in variables


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("http://127.0.0.1:8333", True),
        ("http://[::1]:8333", True),
        ("http://s3.example", False),
        ("https://127.0.0.1", False),
    ],
)
def test_plain_http_is_allowed_to_loopback_alone(endpoint: str, allowed: bool) -> None:
    assert ("AWS_ALLOW_HTTP" in PROTOCOL.environment(place(endpoint=endpoint))) is allowed
