from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credbroker.context import Context, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.identity.aws_service import AwsService, Refused
from credbroker.testing import FakeHttp, ManualClock

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)


class Base:
    """The AWS_* variables of a base identity."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables or {"AWS_ACCESS_KEY_ID": "AKIABASE", "AWS_SECRET_ACCESS_KEY": "canary-key"}

    def variable(self, name: str) -> str | None:
        return self._variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise AssertionError(path)

    def names(self, path: str) -> tuple[str, ...] | None:
        raise AssertionError(path)


def service(**settings: Any) -> AwsService:
    given: dict[str, Any] = {"region": "eu-west-1", "credential_source": "environment", **settings}
    return AwsService("kms", **given)


def ask(answer: HttpResponse | CredbrokerError, environment: Base | None = None, **settings: Any) -> tuple[Any, FakeHttp]:
    http = FakeHttp(answer)
    context = Context(http=http, environment=environment or Base())
    found = service(**settings).ask("Decrypt", {"CiphertextBlob": b"x"}, context, refusals={"NotFoundException"})
    return found, http


def answered(status: int, body: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW, NOW)


def refused(code: str, status: int = 400) -> HttpResponse:
    return answered(status, json.dumps({"__type": code, "message": "canary"}).encode())


def test_the_regional_endpoint_is_asked_once_and_signed_for() -> None:
    found, http = ask(answered(200, b'{"Plaintext": "AP8="}'))
    assert found["Plaintext"] == b"\x00\xff"
    (sent,) = http.requests
    assert sent.url == "https://kms.eu-west-1.amazonaws.com/"
    assert "/eu-west-1/kms/aws4_request" in sent.headers["Authorization"]


def test_an_endpoint_that_is_named_is_asked_as_it_is() -> None:
    found, http = ask(answered(200, b"{}"), endpoint="https://vpce-1.kms.eu-west-1.vpce.amazonaws.com", region="eu-west-1")
    assert http.requests[0].url == "https://vpce-1.kms.eu-west-1.vpce.amazonaws.com"
    assert isinstance(found, dict)
    assert service(endpoint="http://127.0.0.1:4566", region="local").name == "KMS at 127.0.0.1"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"credential_source": None}, "credential_source is missing"),
        ({"credential_source": "web_identity"}, "credential_source is 'web_identity', a token without keys"),
        ({"credential_source": "magic"}, "credential_source is not known to AWS"),
        ({"region": None}, "region is missing"),
        ({"region": "eu-west-1.evil.example/"}, "region is no AWS region"),
        ({"endpoint": "http://kms.example"}, "endpoint is plain http"),
        ({"endpoint": "http://kms.example", "endpoint_key": "kms_endpoint"}, "kms_endpoint is plain http"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        service(**settings)


def test_a_missing_sdk_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    service()
    monkeypatch.delitem(sys.modules, "credbroker.identity.aws_api")
    monkeypatch.delattr("credbroker.identity.aws_api")
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ConfigurationError, match=r"KMS needs botocore: pip install 'credbroker-data\[aws\]'"):
        service()


def test_an_absent_identity_asks_nobody_and_lets_no_chain_go_on() -> None:
    found, http = ask(answered(200, b"{}"), Base(AWS_ACCESS_KEY_ID="AKIABASE"))
    assert type(found) is ConfigurationError
    assert "AWS_SECRET_ACCESS_KEY" in str(found)
    assert http.requests == []


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (refused("ThrottlingException"), IssuerUnavailable, r"is throttling \(ThrottlingException\)"),
        (refused("ProvisionedThroughputExceededException"), IssuerUnavailable, "throttling"),
        (answered(429, b"canary"), IssuerUnavailable, "HTTP 429"),
        (answered(503, b"canary"), IssuerUnavailable, "HTTP 503"),
        (refused("KMSInternalException", 500), IssuerUnavailable, "HTTP 500"),
        (refused("UnrecognizedClientException"), IssueDenied, "AWS_ACCESS_KEY_ID"),
        (refused("ExpiredTokenException"), IssueDenied, "AWS_SESSION_TOKEN"),
        (refused("InvalidSignatureException"), IssueDenied, "this machine's clock"),
        (refused("SignatureDoesNotMatch", 403), IssueDenied, "this machine's clock"),
        (refused("RequestTimeTooSkewed", 403), IssueDenied, "RequestTimeTooSkewed.*this machine's clock"),
        (answered(200, b"<html>canary</html>"), MalformedResponse, "answered Decrypt with what is no answer to it"),
        (answered(200, b""), MalformedResponse, "region and endpoint"),
        (IssuerUnavailable("no route"), IssuerUnavailable, "no route"),
    ],
)
def test_what_all_services_have_in_common_is_an_error(
    answer: HttpResponse | CredbrokerError, kind: type[CredbrokerError], named: str
) -> None:
    found, _ = ask(answer)
    assert type(found) is kind
    with pytest.raises(kind, match=named) as caught:
        raise found
    assert "canary" not in str(caught.value)
    assert not isinstance(found, IssueDenied) or not found.grant_denied


def test_throttling_says_when_to_come_back() -> None:
    found, _ = ask(answered(503, b"", retry_after="7"))
    assert found.retry_after == timedelta(seconds=7)


def test_what_the_caller_knows_is_the_callers_to_explain() -> None:
    assert ask(refused("NotFoundException"))[0] == Refused("NotFoundException", 400)


def test_a_code_that_nobody_knows_is_not_shown() -> None:
    found, _ = ask(refused("SendYourKeysToEvilExample", 403))
    assert found == Refused("", 403)
    assert str(found) == "HTTP 403"


def test_a_service_may_be_asked_with_the_keys_of_a_metadata_service() -> None:
    """Its errors name that one, and none of the variables that it does not read."""
    keys = {"AccessKeyId": "ASIA", "SecretAccessKey": "canary", "Token": "canary", "Expiration": "2999-01-01T00:00:00Z"}
    lent = [answered(200, b"imds-token"), answered(200, b"Instance"), answered(200, json.dumps(keys).encode())]
    http = FakeHttp(*lent, refused("UnrecognizedClientException"))
    context = Context(clock=ManualClock(NOW), http=http, environment=Base())
    found = service(credential_source="imds").ask("Decrypt", {"CiphertextBlob": b"x"}, context, refusals=())
    assert type(found) is IssueDenied
    assert "credential_source: imds" in str(found)
    assert "AWS_ACCESS_KEY_ID" not in str(found)
    assert "Credential=ASIA/" in http.requests[-1].headers["Authorization"]
    assert len(http.requests) == 4
