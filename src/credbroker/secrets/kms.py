r"""Secrets sealed by AWS KMS, kept as files or as items of a DynamoDB table: worth nothing to whoever may not use the key.

A secret is sealed under its own name, as the key's *encryption context*::

    aws kms encrypt --key-id alias/pipelines --plaintext fileb://secret --encryption-context secret_ref=polaris-oauth \
        --query CiphertextBlob --output text > sealed/polaris-oauth

Opened under another name, it does not open. Without that, whoever may write the sealed secrets and open none could lay the
sealed password of one system in the place of another's, and wait for it to be sent there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from credbroker.context import Context
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied
from credbroker.identity.aws_service import Refused
from credbroker.secrets.aws import lookup_of, refusal, service
from credbroker.secrets.backend import Backend, Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings

_NAME = "secret_ref"
_CIPHERTEXT = "ciphertext"
_LONGEST = 6144  # bytes of a CiphertextBlob, by the KMS API reference
# KMS API reference, Decrypt: a ciphertext that is none, of another key, or sealed with another encryption context; a key
# that is not there; one that may not be used now; one of another kind.
_UNSEALABLE = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_NO_KEY = "NotFoundException"
_RESTING = frozenset({"DisabledException", "KMSInvalidStateException"})
_OTHER_KIND = frozenset({"InvalidKeyUsageException", "UnsupportedOperationException", "ValidationException"})
_DENIED = "AccessDeniedException"
_NO_TABLE = "ResourceNotFoundException"
_OTHER_LAYOUT = "ValidationException"


class KmsBackend:
    """Looks for a secret in the file ``<path>/<secret_ref>``: the base64 of a ``CiphertextBlob``, which KMS opens.

    One request a look. The base identity needs ``kms:Decrypt`` on the key. Raises ``ConfigurationError`` for settings that
    cannot work.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        if not settings.path:
            raise settings.misconfigured("path is missing: the directory of the sealed files")
        self._path = settings.path.rstrip("/") or "/"
        self._seal = _Seal(settings, settings.endpoint, "endpoint")

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. A file that is there and does not open raises ``ConfigurationError``."""
        path = f"{self._path}/{reference.secret_ref}"
        result = self._looked(path, f"sealed file {path!r}", reference, context)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _looked(self, path: str, place: str, reference: SecretReference, context: Context) -> Lookup | CredbrokerError:
        # It returns its errors: what it reads may be the secret itself, laid down unsealed.
        try:
            raw = context.environment.read(path, within=self._path)
        except FileNotFoundError:
            return Lookup(place)
        except OSError as error:
            return ConfigurationError(f"{place} cannot be read: {(error.strerror or type(error).__name__).lower()}")
        return self._seal.opened(_decoded(raw), place, reference, context)


class DynamoKmsBackend:
    """Looks for a secret in an item of a DynamoDB table, and has KMS open it.

    The table's key is ``secret_ref`` (a string, the name of the secret; no sort key). The attribute ``ciphertext`` is the
    ``CiphertextBlob``, binary (B), or its base64 (S)::

        {"secret_ref": {"S": "polaris-oauth"}, "ciphertext": {"B": "AQICAHh..."}}

    Two requests a look, one after the other: GetItem (a consistent read: a replaced item counts at once), then Decrypt. The
    base identity needs ``dynamodb:GetItem`` on the table and ``kms:Decrypt`` on the key. ``endpoint`` replaces that of
    DynamoDB, ``kms_endpoint`` that of KMS. Raises ``ConfigurationError`` for settings that cannot work.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        if not settings.table:
            raise settings.misconfigured("table is missing: the DynamoDB table of the sealed items")
        self._table = settings.table
        self._service = service(settings, "dynamodb", settings.endpoint)
        self._seal = _Seal(settings, settings.kms_endpoint, "kms_endpoint")

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. An item that is there and does not open raises ``ConfigurationError``."""
        place = f"{self._service.name}, table {self._table!r}, item {reference.secret_ref!r}"
        result = self._looked(place, reference, context)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _looked(self, place: str, reference: SecretReference, context: Context) -> Lookup | CredbrokerError:
        answer = self._service.ask(
            "GetItem",
            {"TableName": self._table, "Key": {_NAME: {"S": reference.secret_ref}}, "ConsistentRead": True},
            context,
            refusals={_DENIED, _NO_TABLE, _OTHER_LAYOUT},
        )
        if isinstance(answer, CredbrokerError):
            return answer
        if isinstance(answer, Refused):
            return _refused_item(place, answer)
        if "Item" not in answer:
            return Lookup(place)
        return self._seal.opened(_sealed(answer["Item"] or {}), place, reference, context)


class _Seal:
    """The KMS key that opens what was sealed under a secret's name, and nothing else."""

    def __init__(self, settings: BackendSettings, endpoint: str | None, endpoint_key: str) -> None:
        if not settings.key_id:
            raise settings.misconfigured("key_id is missing: the key that the secrets are sealed with")
        if _NAME in settings.encryption_context:
            # It would stand in the place of the secret's own name, and every sealed secret would open as any other.
            raise settings.misconfigured(f"encryption_context has {_NAME!r}, which is each secret's own name: leave it out")
        self._service = service(settings, "kms", endpoint, endpoint_key)
        self._key_id = settings.key_id
        self._context = dict(settings.encryption_context)

    def opened(
        self, ciphertext: bytes, place: str, reference: SecretReference, context: Context
    ) -> Lookup | CredbrokerError:
        """What ``ciphertext`` holds, or the error to raise; an empty one is none."""
        if not ciphertext:
            return ConfigurationError(
                f"{place} is no CiphertextBlob: seal the secret with 'aws kms encrypt', and replace it if it lay there open"
            )
        answer = self._service.ask(
            "Decrypt",
            {
                "CiphertextBlob": ciphertext,
                # The ciphertext names its key too, and KMS would go by that: anyone can seal what he likes with a key of his
                # own that he lets us use.
                "KeyId": self._key_id,
                "EncryptionContext": {_NAME: reference.secret_ref, **self._context},
            },
            context,
            refusals={*_UNSEALABLE, _NO_KEY, *_RESTING, *_OTHER_KIND, _DENIED},
        )
        if isinstance(answer, CredbrokerError):
            return answer
        if isinstance(answer, Refused):
            return self._refusal(place, answer, reference.secret_ref)
        plaintext = answer.get("Plaintext") or None  # KMS seals no empty one
        return lookup_of(place, plaintext, reference.field) or self._service.malformed("Decrypt")

    def _refusal(self, place: str, refused: Refused, name: str) -> CredbrokerError:
        key = f"key {self._key_id!r}"
        if refused.code in _UNSEALABLE:
            further = "".join(f",{label}={value}" for label, value in self._context.items())
            return ConfigurationError(
                f"{place} does not open with {key} under the name {name!r} ({refused}): it is damaged, not sealed, or "
                f"sealed with another key or for another name; seal it with --encryption-context {_NAME}={name}{further}"
            )
        where = f"{self._service.name}, {key}"
        if refused.code == _NO_KEY:
            return ConfigurationError(f"{where} is not there, for {place}: look at 'key_id' and 'region'")
        if refused.code in _OTHER_KIND:
            return ConfigurationError(f"{where} cannot open {place} ({refused}): name a symmetric key that encrypts")
        if refused.code in _RESTING:
            return IssueDenied(f"{where} cannot be used now, for {place} ({refused}): enable it, or cancel its deletion")
        return refusal(where, refused, f"kms:Decrypt on it, for {place}")


def _refused_item(place: str, refused: Refused) -> CredbrokerError:
    if refused.code == _NO_TABLE:
        return ConfigurationError(f"{place}: there is no such table in this region: look at 'table' and 'region'")
    if refused.code == _OTHER_LAYOUT:
        return ConfigurationError(f"{place}: the table has another key: it must be {_NAME!r} alone, a string")
    return refusal(place, refused, "dynamodb:GetItem on the table")


def _sealed(item: Mapping[str, Any]) -> bytes:
    """The ciphertext in an item; nothing where what stands there can be none."""
    value = item.get(_CIPHERTEXT) or {}
    binary, text = value.get("B"), value.get("S")
    if isinstance(binary, bytes):
        return binary if len(binary) <= _LONGEST else b""
    return _decoded(text.encode(errors="replace")) if isinstance(text, str) else b""


def _decoded(text: bytes) -> bytes:
    """The ciphertext that base64 ``text`` spells, in one line or several; nothing where it can be none."""
    try:
        ciphertext = base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return ciphertext if len(ciphertext) <= _LONGEST else b""
