"""A client of botocore's that signs each request with the keys that the broker holds at that moment."""

from __future__ import annotations

import os
import ssl
import threading
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.httpsession import create_urllib3_context
from botocore.loaders import Loader
from botocore.session import Session

from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.identity.aws_api import UNAUTHENTICATED
from credbroker.integrations.reach import check_host, proxy_for

if TYPE_CHECKING:
    from credbroker.config.settings import NetworkSettings
    from credbroker.source import CredentialSource

# What botocore would take from the environment and from ~/.aws is not meant for this session.
_ISOLATED: dict[str, tuple[Any, ...]] = {
    "profile": (None, [], None, None),
    "config_file": (None, [], os.devnull, None),
    "credentials_file": (None, [], os.devnull, None),
    "ca_bundle": (None, [], None, None),
}
_MODELS = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
_ASKED_AT_SIGNING = "asked-of-the-broker-at-each-signing"
_ATTEMPTS = 4
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 60


class BrokerKeys(Credentials):
    """What botocore's signer asks before each request: the source's keys at that moment, of one session each."""

    def __init__(self, source: CredentialSource[Any], profile: str) -> None:
        super().__init__(_ASKED_AT_SIGNING, _ASKED_AT_SIGNING, method="credbroker")
        self._source = source
        self._profile = profile
        self._given = threading.local()

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        held = self._source.get()
        if not isinstance(held, S3Credentials):
            raise ConfigurationError(f"its credentials are {type(held).__name__}, not keys", profile=self._profile)
        self._given.value = held
        token = held.session_token.get_secret_value() if held.session_token else None
        return ReadOnlyCredentials(held.access_key_id, held.secret_access_key.get_secret_value(), token)

    def retry_if_refused(self, response: tuple[Any, Any] | None = None, attempts: int = 1, **_: Any) -> int | None:
        """Botocore's ``needs-retry``: once more, at once, where AWS refuses the keys and there are others to be had."""
        error = response[1].get("Error", {}) if response is not None else {}
        held = getattr(self._given, "value", None)
        if attempts == 1 and held is not None and error.get("Code") in UNAUTHENTICATED and self._source.invalidate(held):
            return 0
        return None


def client(service: str, keys: BrokerKeys, *, region: str, endpoint: str, network: NetworkSettings) -> Any:
    """A client of ``service`` at ``endpoint``, which it reaches by ``network`` and not by the environment.

    Raises ``ConfigurationError`` for a host that ``network.allowed_hosts`` lacks.
    """
    check_host(network, endpoint)
    proxy = proxy_for(network, endpoint)
    session: Any = Session(session_vars=_ISOLATED)  # its stubs know little of it
    settings: dict[str, Any] = {
        "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "defaults_mode": "legacy",  # "auto" would ask the metadata service where we run
        "use_fips_endpoint": False,
        "use_dualstack_endpoint": False,
        "proxies": {"http": proxy, "https": proxy} if proxy is not None else {},
    }
    session.register_component("data_loader", _MODELS)
    session._credentials = keys  # noqa: SLF001 - set_credentials takes fixed keys only
    made = session.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        verify=network.ca_file or True,
        config=Config(**settings),
    )
    # Once for the connections there are, and once for those by a proxy, which are made later.
    connections = made._endpoint.http_session  # noqa: SLF001 - no setting leads to it
    connections._get_ssl_context = _tls  # noqa: SLF001
    connections._manager.connection_pool_kw["ssl_context"] = _tls()  # noqa: SLF001
    made.meta.events.register_first(f"needs-retry.{service}", keys.retry_if_refused)
    return made


def _tls() -> ssl.SSLContext:
    """Botocore's, whose sessions' keys are not written to the file that ``SSLKEYLOGFILE`` names."""
    context: Any = create_urllib3_context()
    context.keylog_filename = None
    made: ssl.SSLContext = context
    return made
