from __future__ import annotations

import base64
import errno
from typing import Any

import pytest
from tests.unit.secrets.aws_answers import GENERAL, USED, Machine, assert_nothing_stays, looked, refused, said, sent

from credbroker.context import HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.secrets.kms import DynamoKmsBackend, KmsBackend
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings

SEALED = b"\x01sealed\xff"
TEXT = base64.b64encode(SEALED)
PATH = "/etc/sealed/used"
KEY = "alias/pipelines"


def opened(plaintext: bytes) -> HttpResponse:
    return said({"KeyId": "arn", "Plaintext": base64.b64encode(plaintext).decode()})


def item(**attributes: dict[str, object]) -> HttpResponse:
    return said({"Item": {"secret_ref": {"S": "used"}, **attributes}})


def files(**settings: Any) -> KmsBackend:
    given = {"type": "kms", "path": "/etc/sealed", "key_id": KEY, **GENERAL, **settings}
    return KmsBackend(BackendSettings(**given), ())


def table(**settings: Any) -> DynamoKmsBackend:
    given = {"type": "dynamodb_kms", "table": "sealed", "key_id": KEY, **GENERAL, **settings}
    return DynamoKmsBackend(BackendSettings(**given), ())


def machine(content: bytes | OSError = TEXT) -> Machine:
    return Machine({PATH: content})


def test_a_sealed_file_is_opened_with_the_one_key_and_under_its_own_name() -> None:
    there = machine(TEXT + b"\n")
    found, (request,) = looked(files(encryption_context={"team": "sales"}), opened(b"value\n"), machine=there)
    assert found.secret is not None
    assert found.secret.get_secret_value() == "value"
    assert found.place == f"sealed file {PATH!r}"
    assert there.within == ["/etc/sealed"]
    assert request.url == "https://kms.eu-west-1.amazonaws.com/"
    assert sent(request) == {
        "CiphertextBlob": TEXT.decode(),
        "KeyId": KEY,
        "EncryptionContext": {"secret_ref": "used", "team": "sales"},
    }


@pytest.mark.parametrize("attribute", [{"B": TEXT.decode()}, {"S": TEXT.decode()}, {"S": f"{TEXT.decode()}\n"}])
def test_a_sealed_item_is_read_consistently_and_opened_under_its_own_name(attribute: dict[str, object]) -> None:
    found, (read, open_) = looked(table(), item(ciphertext=attribute), opened(b"value"))
    assert found.secret is not None
    assert found.secret.get_secret_value() == "value"
    assert read.url == "https://dynamodb.eu-west-1.amazonaws.com/"
    assert sent(read) == {"TableName": "sealed", "Key": {"secret_ref": {"S": "used"}}, "ConsistentRead": True}
    assert open_.url == "https://kms.eu-west-1.amazonaws.com/"
    assert sent(open_) == {"CiphertextBlob": TEXT.decode(), "KeyId": KEY, "EncryptionContext": {"secret_ref": "used"}}


def test_each_service_has_an_endpoint_of_its_own() -> None:
    backend = table(endpoint="https://dynamo.example", kms_endpoint="https://kms.example")
    _, (read, open_) = looked(backend, item(ciphertext={"B": TEXT.decode()}), opened(b"value"))
    assert (read.url, open_.url) == ("https://dynamo.example", "https://kms.example")


def test_a_field_is_picked_of_what_was_sealed() -> None:
    reference = SecretReference(secret_ref="used", field="password")
    found, _ = looked(files(), opened(b'{"password": "p"}'), reference=reference, machine=machine())
    assert found.secret is not None
    assert found.secret.get_secret_value() == "p"


def test_base64_may_be_in_several_lines() -> None:
    ciphertext = bytes(range(256))
    _, (request,) = looked(
        files(), opened(b"value"), machine=machine(base64.encodebytes(ciphertext).replace(b"\n", b"\r\n"))
    )
    assert sent(request)["CiphertextBlob"] == base64.b64encode(ciphertext).decode()


def test_what_is_not_there_lets_the_next_place_be_asked() -> None:
    for backend, answers in ((files(), ()), (table(), (said({}),))):
        found, requests = looked(backend, *answers)
        assert (found.secret, found.reason) == (None, None)
        assert len(requests) == len(answers)


def test_what_is_no_text_is_said_to_be_none() -> None:
    found, _ = looked(files(), opened(b"\xff\xfe"), machine=machine())
    assert (found.secret, found.reason) == (None, "it is not UTF-8 text")


@pytest.mark.parametrize(
    "content", [b"canary: the secret itself", b"", b"\n", b"AP8", b"{AP8=}", b"\xff\xfe", base64.b64encode(b"x" * 6145)]
)
def test_a_file_that_holds_no_ciphertext_is_named_and_not_sent(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=rf"sealed file '{PATH}' is no CiphertextBlob: .*aws kms encrypt") as caught:
        looked(files(), machine=machine(content))
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ciphertext": {"S": "canary: the secret itself"}},
        {"ciphertext": {"S": "cänary"}},
        {"ciphertext": {"N": "1"}},
        {"ciphertext": {"B": ""}},
        {"ciphertext": {"B": base64.b64encode(b"x" * 6145).decode()}},
    ],
)
def test_an_item_that_holds_no_ciphertext_is_named_and_not_sent(attributes: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ConfigurationError, match="table 'sealed', item 'used' is no CiphertextBlob") as caught:
        looked(table(), item(**attributes))
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "is a directory"),
        (OSError("canary"), "OSError"),
    ],
)
def test_a_file_that_cannot_be_read_is_not_taken_for_absent(fault: OSError, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i)'{PATH}' cannot be read: {named}") as caught:
        looked(files(), machine=machine(fault))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (refused("InvalidCiphertextException"), ConfigurationError, "secret_ref=used,team=sales"),
        (
            refused("IncorrectKeyException"),
            ConfigurationError,
            f"'{PATH}' does not open with key '{KEY}' under the name 'used'",
        ),
        (refused("NotFoundException"), ConfigurationError, f"key '{KEY}' is not there, for sealed file '{PATH}'"),
        (refused("InvalidKeyUsageException"), ConfigurationError, "symmetric key"),
        (refused("DisabledException"), IssueDenied, "enable it"),
        (refused("KMSInvalidStateException"), IssueDenied, "cancel its deletion"),
        (
            refused("AccessDeniedException"),
            IssueDenied,
            rf"key '{KEY}' is refused.*kms:Decrypt on it, for sealed file '{PATH}'",
        ),
        (refused("ThrottlingException"), IssuerUnavailable, "throttling"),
        (refused("KeyUnavailableException", 500), IssuerUnavailable, "HTTP 500"),
        (refused("Canary", 403), IssueDenied, r"\(HTTP 403\).*clock"),
        (said({"KeyId": "canary"}), MalformedResponse, "Decrypt"),
        (said({"Plaintext": ""}), MalformedResponse, "Decrypt"),
        (said({"Plaintext": ["canary"]}), MalformedResponse, "Decrypt"),
        (said(b"canary"), MalformedResponse, "Decrypt"),
    ],
)
def test_a_key_that_does_not_open_it_raises(answer: HttpResponse, kind: type[CredbrokerError], named: str) -> None:
    with pytest.raises(kind, match=named) as caught:
        looked(files(encryption_context={"team": "sales"}), answer, machine=machine())
    assert type(caught.value) is kind
    assert not isinstance(caught.value, IssueDenied) or not caught.value.grant_denied
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind", "named"),
    [
        (refused("ResourceNotFoundException"), ConfigurationError, "no such table"),
        (refused("ValidationException"), ConfigurationError, "must be 'secret_ref' alone"),
        (refused("AccessDeniedException"), IssueDenied, "dynamodb:GetItem on the table"),
        (refused("ProvisionedThroughputExceededException"), IssuerUnavailable, "throttling"),
        (said(b"<html>canary"), MalformedResponse, "GetItem"),
        (said({"Item": "canary"}), MalformedResponse, "GetItem"),
    ],
)
def test_a_table_that_cannot_tell_raises(answer: HttpResponse, kind: type[CredbrokerError], named: str) -> None:
    with pytest.raises(kind, match=named) as caught:
        looked(table(), answer)
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize("make", [files, table])
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"key_id": None}, "key_id is missing"),
        ({"encryption_context": {"secret_ref": "any"}}, "encryption_context has 'secret_ref'"),
        ({"credential_source": "web_identity"}, "credential_source is 'web_identity', a token without keys"),
        ({"region": None}, "region is missing"),
        ({"endpoint": "http://aws.example"}, "endpoint is plain http"),
    ],
)
def test_settings_that_cannot_work_are_named_with_their_place(make: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^platform\.yaml:7: secret_backends\[1\]: .*{named}"):
        make(**settings)


def test_what_each_kind_needs_is_named() -> None:
    with pytest.raises(ConfigurationError, match="path is missing"):
        files(path=None)
    with pytest.raises(ConfigurationError, match="table is missing"):
        table(table=None)
    with pytest.raises(ConfigurationError, match="kms_endpoint is plain http"):
        table(kms_endpoint="http://kms.example")


def test_the_name_that_is_sent_is_the_references_own() -> None:
    """Whatever the file says of itself: the attack is a sealed secret that was moved to another name."""
    there = Machine({"/etc/sealed/other": TEXT})
    _, (request,) = looked(files(), opened(b"value"), reference=SecretReference(secret_ref="other"), machine=there)
    assert sent(request)["EncryptionContext"] == {"secret_ref": "other"}
    assert USED.secret_ref not in str(sent(request))
