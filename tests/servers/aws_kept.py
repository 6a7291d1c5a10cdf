"""Where AWS keeps secrets for a test, in each of four services, as their owner fills them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.aws import REGION, Aws

KINDS = ("aws_secrets_manager", "aws_ssm", "kms", "dynamodb_kms")
SEALED = ("kms", "dynamodb_kms")
CALLS = {
    "aws_secrets_manager": ["secretsmanager.GetSecretValue"],
    "aws_ssm": ["AmazonSSM.GetParameter"],
    "kms": ["TrentService.Decrypt"],
    "dynamodb_kms": ["DynamoDB_20120810.GetItem", "TrentService.Decrypt"],
}


@dataclass
class Kept:
    """The places where secrets are kept, of one test alone, as their owner fills them."""

    aws: Aws
    folder: Path
    clients: dict[str, Any]
    key_id: str

    @property
    def prefix(self) -> str:
        return f"/{self.folder.name}/"

    @property
    def table(self) -> str:
        return self.folder.name

    def entry(self, kind: str, **further: Any) -> dict[str, Any]:
        """The entry of ``secret_backends`` that finds them."""
        own: dict[str, dict[str, Any]] = {
            "aws_secrets_manager": {"prefix": self.prefix},
            "aws_ssm": {"prefix": self.prefix},
            "kms": {"path": str(self.folder), "key_id": self.key_id},
            "dynamodb_kms": {"table": self.table, "key_id": self.key_id, "kms_endpoint": self.aws.uri},
        }
        general = {"type": kind, "region": REGION, "endpoint": self.aws.uri, "credential_source": "environment"}
        return {**general, **own[kind], **further}

    def put(self, kind: str, name: str, value: str) -> None:
        """Put it there; again, it is a rotation."""
        if kind == "aws_secrets_manager":
            manager = self.clients["secretsmanager"]
            held = [secret["Name"] for secret in manager.list_secrets()["SecretList"]]
            put = manager.put_secret_value if self.prefix + name in held else manager.create_secret
            named = "SecretId" if self.prefix + name in held else "Name"
            put(**{named: self.prefix + name, "SecretString": value})
        elif kind == "aws_ssm":
            self.clients["ssm"].put_parameter(Name=self.prefix + name, Value=value, Type="SecureString", Overwrite=True)
        else:
            self.lay(kind, name, self.sealed(name, value))

    def sealed(self, name: str, value: str, key_id: str | None = None, **further: str) -> bytes:
        context = {"secret_ref": name, **further}
        made = self.clients["kms"].encrypt(KeyId=key_id or self.key_id, Plaintext=value, EncryptionContext=context)
        return bytes(made["CiphertextBlob"])

    def lay(self, kind: str, name: str, ciphertext: bytes) -> None:
        """Lay a sealed secret under a name, whatever it was sealed for."""
        if kind == "kms":
            (self.folder / name).write_bytes(base64.b64encode(ciphertext) + b"\n")
        else:
            item = {"secret_ref": {"S": name}, "ciphertext": {"B": ciphertext}}
            self.clients["dynamodb"].put_item(TableName=self.table, Item=item)


@contextmanager
def keeping(aws: Aws, folder: Path) -> Iterator[Kept]:
    """A key, a table and the prefix of one test alone; sealed files go into ``folder``."""
    with ExitStack() as running:
        clients = {name: running.enter_context(aws.client(name)) for name in ("secretsmanager", "ssm", "kms", "dynamodb")}
        clients["dynamodb"].create_table(
            TableName=folder.name,
            KeySchema=[{"AttributeName": "secret_ref", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "secret_ref", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Kept(aws, folder, clients, clients["kms"].create_key()["KeyMetadata"]["KeyId"])
