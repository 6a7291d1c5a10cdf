from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.loaders import Loader
from pydantic import SecretStr

from credbroker.context import HttpRequest, HttpResponse
from credbroker.identity import aws_api
from credbroker.identity.aws import Keys
from credbroker.identity.aws_api import THROTTLED, UNAUTHENTICATED, Service, code_of, error_of, parsed, signed

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
KEYS = Keys("AKIABASE", SecretStr("base-secret"), SecretStr("base-token"))


def asked(service: Service, operation: str, parameters: dict[str, object], keys: Keys = KEYS) -> HttpRequest:
    return signed(service, operation, parameters, keys, endpoint="https://aws.example:8443/path", region="eu-west-1")


def answered(status: int, body: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(status, headers, body, NOW, NOW)


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "named", "body"),
    [
        (
            "secretsmanager",
            "GetSecretValue",
            {"SecretId": "a/b", "VersionStage": "AWSCURRENT"},
            ("secretsmanager.GetSecretValue", "application/x-amz-json-1.1"),
            {"SecretId": "a/b", "VersionStage": "AWSCURRENT"},
        ),
        (
            "ssm",
            "GetParameter",
            {"Name": "/a", "WithDecryption": True},
            ("AmazonSSM.GetParameter", "application/x-amz-json-1.1"),
            {"Name": "/a", "WithDecryption": True},
        ),
        (
            "kms",
            "Decrypt",
            {"CiphertextBlob": b"\x00\xff", "KeyId": "alias/k", "EncryptionContext": {"secret_ref": "a"}},
            ("TrentService.Decrypt", "application/x-amz-json-1.1"),
            {"CiphertextBlob": "AP8=", "KeyId": "alias/k", "EncryptionContext": {"secret_ref": "a"}},
        ),
        (
            "dynamodb",
            "GetItem",
            {"TableName": "t", "Key": {"secret_ref": {"S": "a"}}, "ConsistentRead": True},
            ("DynamoDB_20120810.GetItem", "application/x-amz-json-1.0"),
            {"TableName": "t", "Key": {"secret_ref": {"S": "a"}}, "ConsistentRead": True},
        ),
    ],
)
def test_a_json_call_is_what_the_api_reference_states(
    service: Service, operation: str, parameters: dict[str, object], named: tuple[str, str], body: dict[str, object]
) -> None:
    request = asked(service, operation, parameters)
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert (request.method, request.url) == ("POST", "https://aws.example:8443/path")
    assert (headers["x-amz-target"], headers["content-type"]) == named
    assert json.loads(request.body or b"") == body
    assert headers["x-amz-security-token"] == "base-token"
    assert "base-" not in repr(request)


def test_the_signature_is_that_of_signature_version_4() -> None:
    """Calculated here by the steps of "Create a signed AWS API request" (AWS IAM user guide), and by no SDK."""
    request = asked("kms", "Decrypt", {"CiphertextBlob": b"x"}, Keys("AKIABASE", SecretStr("base-secret")))
    headers = {name.lower(): value for name, value in request.headers.items()}
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIABASE/(\d{8})/eu-west-1/kms/aws4_request, SignedHeaders=([a-z0-9;-]+), "
        r"Signature=([0-9a-f]{64})",
        headers["authorization"],
    )
    assert found is not None
    date, names, signature = found.groups()
    assert {"content-type", "host", "x-amz-date", "x-amz-target"} <= set(names.split(";"))
    sent = {**headers, "host": "aws.example:8443"}
    lines = "".join(f"{name}:{sent[name]}\n" for name in names.split(";"))
    canonical = f"POST\n/path\n\n{lines}\n{names}\n{hashlib.sha256(request.body or b'').hexdigest()}"
    scope = f"{date}/eu-west-1/kms/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4base-secret"
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert key.hex() == signature


def test_a_query_call_spells_a_blank_so_that_every_store_reads_it() -> None:
    request = asked("sts", "AssumeRole", {"RoleArn": "a b+c"})
    assert request.body is not None
    assert b"RoleArn=a%20b%2Bc" in request.body


def test_a_newer_model_in_the_home_folder_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file there could otherwise say what is sent, and where: botocore takes the latest model of all it finds."""
    planted = tmp_path / "kms" / "2099-01-01"
    planted.mkdir(parents=True)
    (planted / "service-2.json").write_text('{"metadata": {}, "operations": {}, "shapes": {}}')
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    aws_api._service_model.cache_clear()
    assert asked("kms", "Decrypt", {"CiphertextBlob": b"x"}).headers["X-Amz-Target"] == "TrentService.Decrypt"


def test_an_output_is_read_with_its_bytes() -> None:
    assert parsed("kms", "Decrypt", answered(200, b'{"Plaintext": "AP8="}'))["Plaintext"] == b"\x00\xff"
    answer = parsed("dynamodb", "GetItem", answered(200, b'{"Item": {"ciphertext": {"B": "AP8="}}}'))
    assert answer["Item"] == {"ciphertext": {"B": b"\x00\xff"}}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>sign in</html>", b"[]", b"null", b"1", b'{"Plaintext": ', b"\xff\xfe"),
        *(b'{"Plaintext": 1}', b'{"Plaintext": ["AP8="]}', b"[" * 100_000),
    ],
)
def test_what_is_no_output_is_none(body: bytes) -> None:
    assert not parsed("kms", "Decrypt", answered(200, body))


@pytest.mark.parametrize(
    "body", [b"<html>sign in</html>", b"", b"[]", b'{"Item": 1}', b'{"Item": {"a": 1}}', b'{"Item": {"a": {"B": 1}}}']
)
def test_a_page_of_something_else_is_not_an_item_that_is_absent(body: bytes) -> None:
    assert not parsed("dynamodb", "GetItem", answered(200, body))


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"__type": "ThrottlingException", "message": "canary"}', {}, "ThrottlingException"),
        (b'{"__type": "com.amazonaws.kms#ThrottlingException"}', {}, "ThrottlingException"),
        (b'{"__type": "ThrottlingException:http://evil"}', {}, "ThrottlingException"),
        (b'{"__type": "canary"}', {}, ""),
        (b'{"__type": ["ThrottlingException"]}', {}, ""),
        (b"<Error><Code>ThrottlingException</Code></Error>", {}, ""),
        (b"canary", {}, ""),
        (b"\xff", {}, ""),
        (b"", {}, ""),
    ],
)
def test_an_errors_code_is_one_that_we_know_or_none(body: bytes, headers: dict[str, str], code: str) -> None:
    answer = parsed("kms", "Decrypt", answered(400, body, **headers))
    assert code_of(answer, UNAUTHENTICATED, THROTTLED) == code
    assert code_of(answer) == ""


def test_an_error_may_come_unwrapped() -> None:
    assert error_of({"Code": "SlowDown"}) == {"Code": "SlowDown"}
    assert code_of({"Code": "SlowDown"}, THROTTLED) == "SlowDown"
