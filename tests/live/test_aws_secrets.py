"""Secrets in AWS through a broker, against moto's server: read, rotated, absent, refused, and the requests of one look."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers.aws_kept import CALLS, KINDS, SEALED, Kept, keeping

from credbroker import Broker, SecretReference
from credbroker.errors import ConfigurationError, IssueDenied, SecretNotFound

if TYPE_CHECKING:
    from tests.servers.aws import Aws

USED = SecretReference(secret_ref="used")


@pytest.fixture
def kept(moto_aws: Aws, tmp_path: Path) -> Iterator[Kept]:
    with keeping(moto_aws, tmp_path) as places:
        yield places


@pytest.fixture
def brokers() -> Iterator[Callable[..., Broker]]:
    with ExitStack() as running:

        def make(*backends: dict[str, Any]) -> Broker:
            return running.enter_context(
                Broker.from_config({"version": 1, "environment": "test", "secret_backends": list(backends)})
            )

        yield make


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_read_in_as_many_requests_as_documented(kept: Kept, brokers: Callable[..., Broker], kind: str) -> None:
    kept.put(kind, "polaris", json.dumps({"client_id": "svc", "client_secret": "s3cret"}))
    broker = brokers(kept.entry(kind))
    kept.aws.calls.clear()
    found = broker.resolve(SecretReference(secret_ref="polaris", field="client_secret"))
    assert found.get_secret_value() == "s3cret"
    assert kept.aws.calls == CALLS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotated_secret_is_seen_at_the_next_look(kept: Kept, brokers: Callable[..., Broker], kind: str) -> None:
    broker = brokers(kept.entry(kind))
    for value in ("one", "two", "three"):
        kept.put(kind, "used", value)
        assert broker.resolve(USED).get_secret_value() == value


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_is_absent_is_looked_for_in_the_next_place(
    kept: Kept, brokers: Callable[..., Broker], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = brokers(kept.entry(kind), {"type": "env"})
    monkeypatch.setenv("USED", "from the environment")
    assert broker.resolve(USED).get_secret_value() == "from the environment"
    kept.put(kind, "used", "from AWS")
    assert broker.resolve(USED).get_secret_value() == "from AWS"


def test_a_secret_that_is_nowhere_names_every_place(kept: Kept, brokers: Callable[..., Broker]) -> None:
    with pytest.raises(SecretNotFound) as caught:
        brokers(*(kept.entry(kind) for kind in KINDS)).resolve(USED)
    for place in (
        f"Secrets Manager at 127.0.0.1, secret '{kept.prefix}used'",
        f"Parameter Store at 127.0.0.1, parameter '{kept.prefix}used'",
        f"sealed file '{kept.folder}/used'",
        f"DynamoDB at 127.0.0.1, table '{kept.table}', item 'used'",
    ):
        assert place in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_a_signature_that_is_not_ours_is_refused(
    kept: Kept, brokers: Callable[..., Broker], kind: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So moto does check them, and what the other tests read was signed right."""
    kept.put(kind, "used", "value")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY" if wrong == "secret" else "AWS_ACCESS_KEY_ID", "canary")
    with pytest.raises(IssueDenied, match=r"keys.*clock") as caught:
        brokers(kept.entry(kind), {"type": "env"}).resolve(USED)
    assert not caught.value.grant_denied
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "rights"),
    [
        ("aws_secrets_manager", ("ssm:*", "secretsmanager:GetSecretValue")),
        ("aws_ssm", ("kms:*", "ssm:GetParameter")),
        ("kms", ("dynamodb:*", "kms:Decrypt")),
        ("dynamodb_kms", ("kms:*", "dynamodb:GetItem")),
        ("dynamodb_kms", ("dynamodb:*", "kms:Decrypt")),
    ],
)
def test_an_identity_without_the_right_is_told_which_it_lacks(
    kept: Kept, brokers: Callable[..., Broker], kind: str, rights: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put(kind, "used", "value")
    allowed, lacking = rights
    key, secret = kept.aws.user(f"{kept.folder.name}-user", allowed)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(IssueDenied, match=lacking) as caught:
        brokers(kept.entry(kind)).resolve(USED)
    assert not caught.value.grant_denied


@pytest.mark.parametrize("kind", SEALED)
def test_a_sealed_secret_does_not_open_under_anothers_name(
    kept: Kept, brokers: Callable[..., Broker], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.lay(kind, "used", kept.sealed("payroll", "canary"))
    monkeypatch.setenv("USED", "not asked")
    with pytest.raises(ConfigurationError, match="--encryption-context secret_ref=used") as caught:
        brokers(kept.entry(kind), {"type": "env"}).resolve(USED)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("kind", SEALED)
def test_a_secret_sealed_with_another_key_is_refused(kept: Kept, brokers: Callable[..., Broker], kind: str) -> None:
    other = kept.clients["kms"].create_key()["KeyMetadata"]["KeyId"]
    kept.lay(kind, "used", kept.sealed("used", "planted", key_id=other))
    with pytest.raises(IssueDenied, match="AccessDeniedException"):  # moto's answer; of AWS it is IncorrectKeyException
        brokers(kept.entry(kind)).resolve(USED)


@pytest.mark.parametrize("kind", SEALED)
def test_the_encryption_context_is_part_of_the_seal(kept: Kept, brokers: Callable[..., Broker], kind: str) -> None:
    kept.lay(kind, "used", kept.sealed("used", "value", team="sales"))
    assert brokers(kept.entry(kind, encryption_context={"team": "sales"})).resolve(USED).get_secret_value() == "value"
    with pytest.raises(ConfigurationError, match="secret_ref=used,team=finance"):
        brokers(kept.entry(kind, encryption_context={"team": "finance"})).resolve(USED)


def test_an_item_may_hold_base64_text(kept: Kept, brokers: Callable[..., Broker]) -> None:
    text = base64.encodebytes(kept.sealed("used", "value")).decode()
    item = {"secret_ref": {"S": "used"}, "ciphertext": {"S": text}}
    kept.clients["dynamodb"].put_item(TableName=kept.table, Item=item)
    assert brokers(kept.entry("dynamodb_kms")).resolve(USED).get_secret_value() == "value"


def test_a_table_or_a_key_that_is_not_there_is_named(kept: Kept, brokers: Callable[..., Broker]) -> None:
    with pytest.raises(ConfigurationError, match=r"table 'absent'.*no such table"):
        brokers(kept.entry("dynamodb_kms", table="absent")).resolve(USED)
    kept.put("kms", "used", "value")
    absent = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ConfigurationError, match=f"key '{absent}' is not there"):
        brokers(kept.entry("kms", key_id=absent)).resolve(USED)


def test_a_deleted_secret_is_absent_and_says_why(kept: Kept, brokers: Callable[..., Broker]) -> None:
    kept.put("aws_secrets_manager", "used", "value")
    kept.clients["secretsmanager"].delete_secret(SecretId=f"{kept.prefix}used", RecoveryWindowInDays=7)
    with pytest.raises(SecretNotFound, match="scheduled for deletion"):
        brokers(kept.entry("aws_secrets_manager")).resolve(USED)


def test_a_secret_of_bytes_is_read_as_text(kept: Kept, brokers: Callable[..., Broker]) -> None:
    kept.clients["secretsmanager"].create_secret(Name=f"{kept.prefix}used", SecretBinary="vålue\n".encode())
    assert brokers(kept.entry("aws_secrets_manager")).resolve(USED).get_secret_value() == "vålue"


@pytest.mark.parametrize("type_", ["String", "StringList"])
def test_a_parameter_in_plain_text_is_refused(kept: Kept, brokers: Callable[..., Broker], type_: str) -> None:
    kept.clients["ssm"].put_parameter(Name=f"{kept.prefix}used", Value="canary", Type=type_)
    with pytest.raises(ConfigurationError, match="store it as SecureString") as caught:
        brokers(kept.entry("aws_ssm")).resolve(USED)
    assert "canary" not in str(caught.value)


LOADED = """
import json, sys
from credbroker import Broker, SecretReference
entry = json.loads(sys.argv[1])
broker = Broker.from_config({"version": 1, "environment": "test", "secret_backends": [entry]})
print(broker.resolve(SecretReference(secret_ref="used")).get_secret_value())
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"boto3", "botocore", "aiobotocore", "s3transfer"}))
"""


@pytest.mark.parametrize("kind", [*KINDS, "env"])
def test_no_more_of_the_sdk_is_loaded_than_the_backend_needs(kept: Kept, kind: str) -> None:
    if kind != "env":
        kept.put(kind, "used", "value")
    entry = {"type": "env"} if kind == "env" else kept.entry(kind)
    keys = {"AWS_ACCESS_KEY_ID": kept.aws.access_key, "AWS_SECRET_ACCESS_KEY": kept.aws.secret_key}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(entry)],
        env={**keys, "USED": "value"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["value", "" if kind == "env" else "botocore"]
