"""boto3 sessions that sign each request with the keys which are current then.

::

    from credbroker.integrations.boto3 import session

    s3 = session(broker.storage("lake", "s3://lake/sales")).client("s3")

``docs/adapters.md`` says what such a session takes from the profile, and what it refuses.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from credbroker.errors import ConfigurationError
from credbroker.integrations.botocore import BrokerKeys, isolated, keep_no_key_log, own_models, session_of
from credbroker.integrations.reach import check_host, network_of, proxy_for
from credbroker.source import CredentialSource

_ANY = "us-east-1"  # of a store that has no regions, but whose requests are signed for one


class BrokerSession(boto3.Session):
    """Made by ``session``. Pickles as a reference; a client, as any of boto3's, does not: make it where it is used."""

    def __init__(self, source: CredentialSource[Any]) -> None:
        self._source = source
        self._keys = BrokerKeys(source)
        inner: Any = session_of(self._keys, own_models())
        inner.register("before-send", self._before_send)
        super().__init__(botocore_session=inner)

    @property
    def region_name(self) -> str | None:  # type: ignore[override]  # a text, say the stubs
        """The profile's region, or the one that the catalog names."""
        return self._keys.current().region

    def client(  # type: ignore[override]  # the stubs have one signature a service
        self,
        service_name: str,
        region_name: str | None = None,
        api_version: str | None = None,
        *,
        config: Config | None = None,
        **others: Any,
    ) -> Any:
        """As boto3's, at the endpoint and in the region of the source's profile. The first keys are asked for here.

        Raises ``ConfigurationError`` for an argument that says where requests go or who sends them, for another service than
        S3 where the profile has an ``endpoint``, where no region is known, and what ``CredentialSource.get`` raises.
        """
        for name, value in others.items():
            if value is not None and not (name in ("use_ssl", "verify") and value is True):
                raise _refused(name)
        if config is not None and config.proxies is not None:  # type: ignore[attr-defined]  # unknown to the stubs
            raise _refused("config.proxies")
        held = self._keys.current()
        if held.endpoint is not None and service_name != "s3":
            raise ConfigurationError(
                f"its keys are for the store at its 'endpoint': no client of {service_name!r} is sent them",
                profile=self._source.request.profile,
            )
        region = region_name or held.region or (_ANY if held.endpoint is not None else None)
        if region is None:
            raise ConfigurationError("no region is known: set 'region' there", profile=self._source.request.profile)
        network = network_of(self._source)
        proxy = network.proxy if held.endpoint is None else proxy_for(network, held.endpoint)
        settings = isolated(proxy)
        if held.endpoint is not None:
            check_host(network, held.endpoint)
            settings["s3"] = {**((config.s3 if config else None) or {}), "addressing_style": "path"}  # type: ignore[attr-defined]
        made = super().client(
            service_name,  # type: ignore[call-overload]
            region_name=region,
            api_version=api_version,
            endpoint_url=held.endpoint,
            verify=network.ca_file or True,
            config=(config or Config()).merge(Config(**settings)),
        )
        keep_no_key_log(made)
        return made

    def _before_send(self, request: Any, **_: Any) -> None:
        """Raise ``ConfigurationError`` for a request to a host that the keys are not for, before it is sent."""
        url = str(request.url)
        del request  # an error's traceback shows what its frames hold, and this one the session token
        check_host(network_of(self._source), url)
        held = self._keys.signed_with()
        if held is not None and held.endpoint is not None and _origin(url) != _origin(held.endpoint):
            raise ConfigurationError(
                f"the keys are for {held.endpoint}, and the request for {urlsplit(url).hostname!r}: make a new client",
                profile=self._source.request.profile,
            )

    def __repr__(self) -> str:
        return f"<boto3 session of {self._source!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return session, (self._source,)


def session(source: CredentialSource[Any]) -> boto3.Session:
    """A session whose clients and resources ask ``source`` for the keys at each request that they sign.

    ``source`` is of an S3 ``storage`` profile, a table with one set of keys, or a catalog that is asked with signatures
    (Glue, S3 Tables). Keys that the service refuses are replaced and the request is sent once more. Nothing is taken from
    the environment, from ~/.aws or from the machine: neither an identity nor an endpoint nor a proxy.
    """
    return BrokerSession(source)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _refused(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is refused: where requests go and who sends them is for platform.yaml to say; remove it"
    )
