"""Secrets in AWS: Secrets Manager, and the SecureStrings of Systems Manager's Parameter Store. One request a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from credbroker.context import Context
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied
from credbroker.identity.aws_service import AwsService, Refused
from credbroker.secrets.backend import Backend, Lookup, lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings

if TYPE_CHECKING:
    from credbroker.identity.aws_api import Service

# API references of Secrets Manager (GetSecretValue), Systems Manager (GetParameter), KMS (Decrypt), DynamoDB (GetItem). No
# other code is told apart.
_DENIED = "AccessDeniedException"
_MISNAMED = frozenset({"ValidationException", "InvalidParameterException"})
_ABSENT_SECRET, _DOOMED, _SEALED = "ResourceNotFoundException", "InvalidRequestException", "DecryptionFailure"
_ABSENT_PARAMETER, _WRONG_KEY = "ParameterNotFound", "InvalidKeyId"
_SECURE = "SecureString"


class SecretsManagerBackend:
    """Looks for a secret in AWS Secrets Manager: its version ``AWSCURRENT``, as text, or as bytes that are UTF-8.

    Its name there is ``prefix`` and the ``secret_ref``. The base identity needs ``secretsmanager:GetSecretValue`` on it, and
    ``kms:Decrypt`` where its key is a customer's. Raises ``ConfigurationError`` for settings that cannot work.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        self._service = service(settings, "secretsmanager", settings.endpoint)
        self._prefix = settings.prefix

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. A secret that is scheduled for deletion is absent."""
        result = self._looked(reference, context)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _looked(self, reference: SecretReference, context: Context) -> Lookup | CredbrokerError:
        name = f"{self._prefix}{reference.secret_ref}"
        place = f"{self._service.name}, secret {name!r}"
        answer = self._service.ask(
            "GetSecretValue",
            {"SecretId": name, "VersionStage": "AWSCURRENT"},
            context,
            refusals={_DENIED, _ABSENT_SECRET, _DOOMED, _SEALED, *_MISNAMED},
        )
        if isinstance(answer, CredbrokerError):
            return answer
        if not isinstance(answer, Refused):
            value = answer.get("SecretString", answer.get("SecretBinary"))
            return lookup_of(place, value, reference.field) or self._service.malformed("GetSecretValue")
        if answer.code == _ABSENT_SECRET:
            return Lookup(place)
        if answer.code == _DOOMED:
            return Lookup(place, reason="it is scheduled for deletion")
        if answer.code == _SEALED:
            return IssueDenied(
                f"{place} cannot be decrypted ({answer}): is its KMS key enabled, and kms:Decrypt granted on it?"
            )
        return refusal(place, answer, "secretsmanager:GetSecretValue on it, and kms:Decrypt on its key")


class ParameterStoreBackend:
    """Looks for a secret in the Parameter Store of AWS Systems Manager: the newest version of a ``SecureString``.

    Its name there is ``prefix`` and the ``secret_ref``. The base identity needs ``ssm:GetParameter`` on it and
    ``kms:Decrypt`` on its key. Raises ``ConfigurationError`` for settings that cannot work.
    """

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        self._service = service(settings, "ssm", settings.endpoint)
        self._prefix = settings.prefix

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. Raises ``ConfigurationError`` too for a parameter that keeps its secret in plain text."""
        result = self._looked(reference, context)
        if isinstance(result, CredbrokerError):
            raise result
        return result

    def _looked(self, reference: SecretReference, context: Context) -> Lookup | CredbrokerError:
        name = f"{self._prefix}{reference.secret_ref}"
        place = f"{self._service.name}, parameter {name!r}"
        answer = self._service.ask(
            "GetParameter",
            {"Name": name, "WithDecryption": True},
            context,
            refusals={_DENIED, _ABSENT_PARAMETER, _WRONG_KEY, *_MISNAMED},
        )
        if isinstance(answer, CredbrokerError):
            return answer
        if not isinstance(answer, Refused):
            return self._read(place, answer, reference.field)
        if answer.code == _ABSENT_PARAMETER:
            return Lookup(place)
        if answer.code == _WRONG_KEY:
            return IssueDenied(f"{place} cannot be decrypted ({answer}): does its KMS key exist, and is it enabled?")
        return refusal(place, answer, "ssm:GetParameter on it, and kms:Decrypt on its key")

    def _read(self, place: str, answer: Mapping[str, Any], field: str | None) -> Lookup | CredbrokerError:
        parameter = answer.get("Parameter") or {}
        if parameter.get("Type") in ("String", "StringList"):
            # Whoever may read parameters reads it, without the key's consent, and DescribeParameters lists it as no secret.
            return ConfigurationError(
                f"{place} keeps a secret in plain text: store it as SecureString, and then replace the secret itself"
            )
        value = parameter.get("Value") if parameter.get("Type") == _SECURE else None
        return lookup_of(place, value, field) or self._service.malformed("GetParameter")


def service(settings: BackendSettings, name: Service, endpoint: str | None, endpoint_key: str = "endpoint") -> AwsService:
    """The AWS service of a backend. Raises ``ConfigurationError``, with the backend's place in the file."""
    try:
        return AwsService(
            name,
            region=settings.region,
            credential_source=settings.credential_source,
            endpoint=endpoint,
            endpoint_key=endpoint_key,
        )
    except ConfigurationError as error:
        raise settings.misconfigured(error.message) from None


def lookup_of(place: str, value: object, field: str | None) -> Lookup | None:
    """The result for a value that AWS gave, text or bytes; None for what is neither."""
    if not isinstance(value, str | bytes):
        return None
    try:
        # JSON may spell half a surrogate pair, which is text that no request to an issuer could carry.
        text = (value.encode() if isinstance(value, str) else value).decode()
    except UnicodeError:
        return Lookup(place, reason="it is not UTF-8 text")
    return lookup(place, text, field)


def refusal(place: str, refused: Refused, rights: str) -> CredbrokerError:
    """The error for a refusal that all services have: of a name that is none, or of a right that we lack."""
    if refused.code in _MISNAMED:
        return ConfigurationError(f"{place} has a name that AWS does not take ({refused}): look at 'prefix'")
    if not refused.code:  # an endpoint that is not AWS's own may say no more than that
        rights += "; or its keys are none of this account, or this machine's clock is wrong"
    return IssueDenied(f"{place} is refused ({refused}): the base identity needs {rights}")
