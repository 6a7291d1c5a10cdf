"""One AWS service as a configuration names it: where it is, who asks, and which failures all services have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from credbroker.context import Context, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.hosts import url_fault
from credbroker.identity.aws import REGION, base_keys, regional_endpoint, remedy_for, source_fault
from credbroker.wire.expiry import is_transient, retry_after

if TYPE_CHECKING:
    from credbroker.identity.aws_api import Service

_TITLES = {"secretsmanager": "Secrets Manager", "ssm": "Parameter Store", "kms": "KMS", "dynamodb": "DynamoDB"}


@dataclass(frozen=True, slots=True)
class Refused:
    """The service said no: its ``code``, if that is one that the caller knows, and the HTTP status."""

    code: str
    status: int

    def __str__(self) -> str:
        return self.code or f"HTTP {self.status}"


class AwsService:
    """Asks one service, once a call. ``region`` is what a signature names, and the host too where no ``endpoint`` is given.

    Raises ``ConfigurationError`` for a region, an endpoint or a credential source that cannot work, and without botocore.
    """

    def __init__(
        self,
        service: Service,
        *,
        region: str | None,
        credential_source: str | None,
        endpoint: str | None = None,
        endpoint_key: str = "endpoint",
    ) -> None:
        fault = source_fault(credential_source)
        if fault is not None:
            raise ConfigurationError(f"credential_source {fault}")
        if not region:
            raise ConfigurationError("region is missing: the signature names it")
        if endpoint is None and not REGION.fullmatch(region):
            raise ConfigurationError("region is no AWS region: it becomes part of the host's name")
        fault = None if endpoint is None else url_fault(endpoint)
        if fault is not None:
            raise ConfigurationError(f"{endpoint_key} {fault}")
        try:
            from credbroker.identity import aws_api
        except ImportError:
            raise ConfigurationError(f"{_TITLES[service]} needs botocore: pip install 'credbroker-data[aws]'") from None
        self._api = aws_api
        self._service: Service = service
        self._region = region
        self._source = credential_source
        self._endpoint = endpoint or regional_endpoint(service, region)
        self.name = f"{_TITLES[service]} at {urlsplit(self._endpoint).hostname}"
        """What a human calls it: ``KMS at kms.eu-west-1.amazonaws.com``."""
        self._remedy = f"check region and {endpoint_key}"

    def ask(
        self, operation: str, parameters: Mapping[str, object], context: Context, *, refusals: Collection[str]
    ) -> Mapping[str, Any] | Refused | CredbrokerError:
        """The output of ``operation``, or what the service refused (a code of ``refusals``, or an unknown one), or an error.

        The error is for the caller to raise, from a frame without the answer: a traceback keeps each frame's locals, and an
        answer holds a secret. It is ``IssueDenied`` where the service does not take our keys, ``IssuerUnavailable`` where it
        is throttling or failing, ``MalformedResponse`` where the answer is none, ``ConfigurationError`` where the base
        identity is absent, and whatever ``context.send`` raises.
        """
        try:
            keys = base_keys(self._source, context)
            request = self._api.signed(
                self._service, operation, parameters, keys, endpoint=self._endpoint, region=self._region
            )
            response = context.send(request)
        except CredentialUnavailable as error:
            # No chain goes on from here: a secret of another place is not this one.
            return ConfigurationError(f"{self.name} cannot be asked: {error.message}")
        except CredbrokerError as error:
            return error.fresh()
        return self._read(operation, response, refusals)

    def _read(
        self, operation: str, response: HttpResponse, refusals: Collection[str]
    ) -> Mapping[str, Any] | Refused | CredbrokerError:
        if is_transient(response.status):
            return self._unavailable(f"answered HTTP {response.status}", response)
        answer = self._api.parsed(self._service, operation, response)
        if response.status == 200:
            return answer or self.malformed(operation)
        api = self._api
        refused = Refused(api.code_of(answer, refusals, api.UNAUTHENTICATED, api.THROTTLED), response.status)
        if refused.code in refusals:
            return refused
        if refused.code in api.THROTTLED:
            return self._unavailable(f"is throttling ({refused})", response)
        if refused.code in api.UNAUTHENTICATED:
            return IssueDenied(
                f"{self.name} does not accept the base identity's keys ({refused}): look at {remedy_for(self._source)}, and "
                "at this machine's clock"
            )
        return refused

    def malformed(self, operation: str) -> MalformedResponse:
        """The error for an output of ``operation`` that lacks what it must have."""
        return MalformedResponse(f"{self.name} answered {operation} with what is no answer to it: {self._remedy}")

    def _unavailable(self, text: str, response: HttpResponse) -> IssuerUnavailable:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(
            f"{self.name} {text}: it is asked again later; if this stays, {self._remedy}", retry_after=pause
        )
