from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.unit.secrets.aws_answers import GENERAL, assert_nothing_stays, looked, refused, said, sent

from credbroker.context import HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.secrets.aws import ParameterStoreBackend, SecretsManagerBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings


def manager(**settings: Any) -> SecretsManagerBackend:
    return SecretsManagerBackend(BackendSettings(type="aws_secrets_manager", **{**GENERAL, **settings}), ())


def store(**settings: Any) -> ParameterStoreBackend:
    return ParameterStoreBackend(BackendSettings(type="aws_ssm", **{**GENERAL, **settings}), ())


def parameter(value: object, type_: str = "SecureString") -> HttpResponse:
    return said({"Parameter": {"Name": "x", "Type": type_, "Value": value}})


def test_the_current_version_of_the_prefixed_name_is_asked_for() -> None:
    found, (request,) = looked(manager(prefix="team/"), said({"Name": "team/used", "SecretString": "value"}))
    assert found.secret is not None
    assert found.secret.get_secret_value() == "value"
    assert request.url == "https://secretsmanager.eu-west-1.amazonaws.com/"
    assert sent(request) == {"SecretId": "team/used", "VersionStage": "AWSCURRENT"}
    assert found.place == "Secrets Manager at secretsmanager.eu-west-1.amazonaws.com, secret 'team/used'"
    assert "value" not in repr(found)


def test_a_secure_parameter_is_asked_for_in_the_clear() -> None:
    found, (request,) = looked(store(prefix="/team/", region="cn-north-1"), parameter("value"))
    assert found.secret is not None
    assert found.secret.get_secret_value() == "value"
    assert request.url == "https://ssm.cn-north-1.amazonaws.com.cn/"
    assert sent(request) == {"Name": "/team/used", "WithDecryption": True}


def test_a_field_is_picked() -> None:
    reference = SecretReference(secret_ref="used", field="password")
    for backend, answer in (
        (manager(), said({"SecretString": '{"username": "u", "password": "p"}'})),
        (store(), parameter('{"username": "u", "password": "p"}')),
    ):
        found, _ = looked(backend, answer, reference=reference)
        assert found.secret is not None
        assert found.secret.get_secret_value() == "p"


def test_bytes_are_read_as_utf_8() -> None:
    found, _ = looked(manager(), said({"SecretBinary": base64.b64encode("vålue".encode()).decode()}))
    assert found.secret is not None
    assert found.secret.get_secret_value() == "vålue"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refused("ResourceNotFoundException"), None),
        (refused("InvalidRequestException"), "it is scheduled for deletion"),
        (said({"SecretString": ""}), "it is empty"),
        (said({"SecretBinary": "//8="}), "it is not UTF-8 text"),
        (said({"SecretString": "\ud800"}), "it is not UTF-8 text"),
    ],
)
def test_a_secret_that_is_not_there_says_why_and_lets_the_next_place_be_asked(
    answer: HttpResponse, reason: str | None
) -> None:
    found, _ = looked(manager(), answer)
    assert (found.secret, found.reason) == (None, reason)


def test_a_parameter_that_is_not_there_lets_the_next_place_be_asked() -> None:
    found, _ = looked(store(), refused("ParameterNotFound"))
    assert (found.secret, found.reason) == (None, None)


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (
            refused("AccessDeniedException"),
            IssueDenied,
            "'used' is refused.*secretsmanager:GetSecretValue on it, and kms:Decrypt",
        ),
        (refused("DecryptionFailure"), IssueDenied, "cannot be decrypted.*kms:Decrypt"),
        (refused("ValidationException"), ConfigurationError, "look at 'prefix'"),
        (refused("InvalidParameterException"), ConfigurationError, "look at 'prefix'"),
        (refused("Canary"), IssueDenied, r"\(HTTP 400\).*this machine's clock"),
        (said({"__type": "canary"}, 404), IssueDenied, "HTTP 404"),
        (refused("ThrottlingException"), IssuerUnavailable, "throttling"),
        (refused("ExpiredTokenException"), IssueDenied, "AWS_SESSION_TOKEN"),
        (said({"Name": "canary"}), MalformedResponse, "GetSecretValue"),
        (said({"SecretString": ["canary"]}), MalformedResponse, "GetSecretValue"),
        (said(b"<html>canary"), MalformedResponse, "GetSecretValue"),
        (said(b"canary", 503), IssuerUnavailable, "HTTP 503"),
    ],
)
def test_a_manager_that_cannot_tell_raises(answer: HttpResponse, kind: type[CredbrokerError], named: str) -> None:
    with pytest.raises(kind, match=named) as caught:
        looked(manager(), answer)
    assert type(caught.value) is kind
    assert not isinstance(caught.value, IssueDenied) or not caught.value.grant_denied
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (parameter("canary", "String"), ConfigurationError, "keeps a secret in plain text: store it as SecureString"),
        (parameter("canary", "StringList"), ConfigurationError, "SecureString"),
        (parameter("canary", "Canary"), MalformedResponse, "GetParameter"),
        (parameter(None), MalformedResponse, "GetParameter"),
        (said({"Parameter": None}), MalformedResponse, "GetParameter"),
        (said({}), MalformedResponse, "GetParameter"),
        (said({"Parameter": "canary"}), MalformedResponse, "GetParameter"),
        (refused("AccessDeniedException"), IssueDenied, "ssm:GetParameter on it, and kms:Decrypt on its key"),
        (refused("InvalidKeyId"), IssueDenied, "KMS key"),
        (refused("ValidationException"), ConfigurationError, "look at 'prefix'"),
        (refused("ParameterVersionNotFound"), IssueDenied, "HTTP 400"),
        (refused("InvalidSignatureException"), IssueDenied, "this machine's clock"),
    ],
)
def test_a_store_that_cannot_tell_raises(answer: HttpResponse, kind: type[CredbrokerError], named: str) -> None:
    with pytest.raises(kind, match=named) as caught:
        looked(store(), answer)
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize("make", [manager, store])
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"credential_source": None}, "credential_source is missing"),
        ({"credential_source": "web_identity"}, "credential_source is 'web_identity', a token without keys"),
        ({"region": "nowhere"}, "region is no AWS region"),
        ({"endpoint": "http://aws.example"}, "endpoint is plain http"),
    ],
)
def test_settings_that_cannot_work_are_named_with_their_place(make: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^platform\.yaml:7: secret_backends\[1\]: .*{named}"):
        make(**settings)
