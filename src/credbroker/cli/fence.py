"""One attempt with one set of keys against an S3 store or its STS, and what the answer to it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import CredentialResolver
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)
from pydantic import SecretStr

from credbroker.credentials import S3Credentials
from credbroker.integrations.botocore import FROM_NOWHERE, own_models
from credbroker.integrations.endpoint import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Call = Callable[[Any], object]  # is given the client

_TIMEOUT = 10.0  # seconds, to connect and for each read
_MODELS = own_models()
_NOBODY = S3Credentials("none", SecretStr("none"))
# A store's own words are not repeated, but for a code: letters alone, so neither a key nor an escape for the terminal.
_CODE = re.compile(r"[A-Za-z]{3,48}")
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
_BUSY = frozenset({"SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "Throttling"})


class Outcome(Enum):
    """What an answer says about a fence."""

    DONE = "done"
    """The store did what was asked."""
    LOOKED = "looked"
    """It found nothing there (404): so it looked, which a fence keeps it from."""
    ABSENT = "absent"
    """Nothing is there (404), and the same keys are refused what is there: names are told, no more. Two answers say that."""
    REFUSED = "refused"
    """``AccessDenied``: the keys are good, and do not reach there."""
    OTHER = "other"
    """An answer to another question: the keys themselves are refused, a redirect, not implemented."""
    SILENT = "silent"
    """No answer that can be used: out of time, a lost connection, 5xx, throttling. It may have been done all the same."""
    UNREACHED = "unreached"
    """No connection: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt and what became of it. ``answer`` is the store's error code, or what it let happen."""

    what: str
    outcome: Outcome
    answer: str
    grant: str = ""

    @property
    def refused(self) -> bool:
        """Whether the store said that these keys do not reach there."""
        return self.outcome is Outcome.REFUSED

    @property
    def allowed(self) -> bool:
        """Whether the store did it, or would have, had there been anything."""
        return self.outcome in (Outcome.DONE, Outcome.LOOKED)

    @property
    def kept(self) -> bool:
        """Whether no object's content can be had so: it was refused, or nothing is there and what is there was refused."""
        return self.refused or self.outcome is Outcome.ABSENT

    @property
    def unanswered(self) -> bool:
        """Whether the store may say more when it is asked again."""
        return self.outcome in (Outcome.SILENT, Outcome.UNREACHED)


class _Service:
    """A service at one endpoint. Each call is tried once; nothing of the environment or ``~/.aws`` is read."""

    def __init__(self, service: Literal["s3", "sts"], place: Endpoint, timeout: float) -> None:
        core = botocore.session.Session(session_vars=FROM_NOWHERE)
        core.register_component("data_loader", _MODELS)
        core.register_component("credential_provider", CredentialResolver(providers=[]))
        self._session = boto3.session.Session(botocore_session=core)
        self._place = place
        self._service = service
        self._timeout = timeout
        # The first client is a second's work on a busy machine, and keys of a few seconds are not to wait for it.
        self._client(_NOBODY).close()

    def _client(self, keys: S3Credentials) -> Any:
        place = self._place
        return self._session.client(
            self._service,
            endpoint_url=place.url,
            region_name=place.region,
            verify=place.ca_file or True,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key.get_secret_value(),
            aws_session_token=keys.session_token.get_secret_value() if keys.session_token else None,
            config=Config(
                s3={"addressing_style": "virtual" if place.virtual else "path"},
                proxies={"http": place.proxy, "https": place.proxy} if place.proxy else {},
                retries={"total_max_attempts": 1},
                connect_timeout=self._timeout,
                read_timeout=self._timeout,
            ),
        )

    def attempt(self, what: str, keys: S3Credentials, call: Call, *, grant: str = "") -> Attempt:
        """Make ``call`` with a client of these keys. A body that comes is not read."""
        with closing(self._client(keys)) as client:
            try:
                found = call(client)
            except ClientError as error:
                return Attempt(what, *meaning(error), grant)
            except BotoCoreError as error:  # its text may name more than its class does
                silence = Outcome.UNREACHED if isinstance(error, _NOT_SENT) else Outcome.SILENT
                return Attempt(what, silence, f"no answer ({type(error).__name__})", grant)
            if isinstance(found, dict) and "Body" in found:
                found["Body"].close()
            return Attempt(what, Outcome.DONE, "allowed", grant)


class Store(_Service):
    """An S3 store at one endpoint. Each call is tried once; nothing of the environment or ``~/.aws`` is read."""

    def __init__(self, place: Endpoint, *, timeout: float = _TIMEOUT) -> None:
        super().__init__("s3", place, timeout)

    def client(self, keys: S3Credentials) -> S3Client:
        """A client with these keys. They stay in it until it is closed and forgotten."""
        made: S3Client = self._client(keys)
        return made


class TokenService(_Service):
    """An STS, likewise."""

    def __init__(self, place: Endpoint) -> None:
        super().__init__("sts", place, _TIMEOUT)


def meaning(error: ClientError) -> tuple[Outcome, str]:
    """What an error that the store stated says, and its code to show."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # Ceph's STS states it as S3 does, without the "Error" around it that botocore looks for in STS's answers.
    stated = str(error.response.get("Error", error.response).get("Code", ""))
    code = stated if _CODE.fullmatch(stated) else f"HTTP {status}"
    if code == "AccessDenied":
        return Outcome.REFUSED, code
    if status >= 500 or status == 429 or code in _BUSY:
        return Outcome.SILENT, code
    if status == 404 or code == "InvalidObjectState":  # the latter: it is there, in an archive
        return Outcome.LOOKED, code
    return Outcome.OTHER, code
