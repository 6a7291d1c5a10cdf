"""Sessions of botocore's, whose clients sign each request with the keys that the broker holds at that moment."""

from __future__ import annotations

import os
import ssl
import threading
from typing import TYPE_CHECKING, Any

from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials
from botocore.httpsession import create_urllib3_context
from botocore.loaders import Loader
from botocore.session import Session
from botocore.tokens import TokenProviderChain

from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.identity.aws_api import UNAUTHENTICATED
from credbroker.integrations.storage import credentials_of

if TYPE_CHECKING:
    from credbroker.source import CredentialSource

# AWS_MAX_ATTEMPTS and the like lead nowhere and say nothing of who asks; and stores that know no checksum at the end of a
# body are spared it by a variable alone, where an SDK has no other place for it.
_HARMLESS = frozenset({"max_attempts", "request_checksum_calculation", "response_checksum_validation", "retry_mode"})
# Nothing else of the environment or of ~/.aws is meant for a session of ours: AWS_PROFILE with a name that is not there
# would end it, and AWS_CSM_ENABLED have each session token sent, unencrypted, to the host that AWS_CSM_HOST names.
FROM_NOWHERE: dict[str, tuple[Any, ...]] = {
    name: (None, [], default, convert)
    for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    if name not in _HARMLESS
} | {
    "config_file": (None, [], os.devnull, None),
    "credentials_file": (None, [], os.devnull, None),
    "s3": (None, [], None, None),  # has variables of its own, such as AWS_S3_US_EAST_1_REGIONAL_ENDPOINT
}
ASKED_AT_SIGNING = "asked-of-the-broker-at-each-signing"
"""In the place of keys, where botocore wants some before it signs."""
_SENT_AGAIN = "credbroker.sent-again"


class BrokerKeys(Credentials):
    """What botocore's signer asks before each request: the source's keys at that moment, of one session each.

    Botocore's own renewing credentials ask at every request for keys that live for less than 15 minutes; the source does so
    when they are due. Pickles as a reference.
    """

    def __init__(self, source: CredentialSource[Any]) -> None:
        super().__init__(ASKED_AT_SIGNING, ASKED_AT_SIGNING, method="credbroker")
        self.source = source
        self._given = threading.local()

    def current(self) -> S3Credentials:
        """The keys of this moment. Raises as ``keys_of`` and ``CredentialSource.get`` do."""
        return keys_of(self.source, self.source.get())

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        value = self.source.get()
        held = keys_of(self.source, value)
        self._given.value, self._given.keys = value, held
        token = held.session_token.get_secret_value() if held.session_token else None
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key.get_secret_value(), token)

    def signed_with(self) -> S3Credentials | None:
        """The keys that this thread has signed with last."""
        return getattr(self._given, "keys", None)

    def retry_if_refused(
        self, request_dict: dict[str, Any], response: tuple[Any, Any] | None = None, **_: Any
    ) -> int | None:
        """Botocore's ``needs-retry``: once more, at once, where AWS refuses the keys and there are others to be had."""
        error = response[1].get("Error", {}) if response is not None else {}
        context = request_dict.setdefault("context", {})
        refused = error.get("Code") in UNAUTHENTICATED and _SENT_AGAIN not in context
        value = getattr(self._given, "value", None)
        if refused and value is not None and self.source.invalidate(value):
            context[_SENT_AGAIN] = True
            return 0
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return BrokerKeys, (self.source,)


def keys_of(source: CredentialSource[Any], value: object) -> S3Credentials:
    """As ``credentials_of``, for a client that signs. Raises ``ConfigurationError`` for what is no key pair."""
    held = credentials_of(source, value)
    if not isinstance(held, S3Credentials):
        raise ConfigurationError(f"its credentials are {type(held).__name__}, not keys", profile=source.request.profile)
    return held


class _Provider(CredentialProvider):
    METHOD = CANONICAL_NAME = "custom-credbroker"

    def __init__(self, keys: BrokerKeys) -> None:
        super().__init__()
        self._keys = keys

    def load(self) -> BrokerKeys:
        return self._keys


def own_models() -> Loader:
    """What botocore itself knows of services, and nothing from ~/.aws/models."""
    return Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


MODELS = own_models()
"""Reading a service's model takes most of what a new client costs, and it is the same for all."""


def session_of(keys: BrokerKeys, models: Loader = MODELS) -> Session:
    """A session that knows no other identity than ``keys``: none of the environment, of ~/.aws, or of the machine."""
    made: Any = Session(session_vars=FROM_NOWHERE)  # its stubs know little of it
    made.register_component("data_loader", models)
    made.register_component("credential_provider", CredentialResolver([_Provider(keys)]))
    made.register_component("token_provider", TokenProviderChain([]))
    made.register("needs-retry", keys.retry_if_refused)
    session: Session = made
    return session


def isolated(proxy: str | None) -> dict[str, Any]:
    """Settings of a client's ``Config`` by which it takes neither proxy nor endpoint from the environment."""
    return {
        "defaults_mode": "legacy",  # "auto" would ask the metadata service where we run
        "ignore_configured_endpoint_urls": True,
        "proxies": {"http": proxy, "https": proxy} if proxy is not None else {},
    }


def keep_no_key_log(made: Any) -> None:
    """Have a client write its TLS sessions' keys to no file: ``SSLKEYLOGFILE`` names one for all of botocore's."""
    # Once for the connections there are, and once for those by a proxy, which are made later.
    connections = made._endpoint.http_session  # noqa: SLF001 - no setting leads to it
    connections._get_ssl_context = _tls  # noqa: SLF001
    connections._manager.connection_pool_kw["ssl_context"] = _tls()  # noqa: SLF001


def _tls() -> ssl.SSLContext:
    context: Any = create_urllib3_context()
    context.keylog_filename = None
    made: ssl.SSLContext = context
    return made
