"""BrokerGlueCatalog: PyIceberg's catalog in AWS Glue, asked with a role's keys of the moment, with the broker's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.config import Config
from pyiceberg.catalog.glue import GlueCatalog

from credbroker.integrations.botocore import BrokerKeys, isolated, keep_no_key_log, session_of
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.binding import FILE_IOS, Binding
from credbroker.integrations.pyiceberg.files import PROPERTY
from credbroker.integrations.pyiceberg.metastore import BrokerMetastore
from credbroker.integrations.pyiceberg.strings import binding_and_passed
from credbroker.integrations.reach import check_host, proxy_for
from credbroker.profile import CatalogProfile
from credbroker.providers._signed_catalog import GLUE_ID, GLUE_SKIP_ARCHIVE, default_uri, signing_of
from credbroker.providers.requirements import check_profile, check_url

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from credbroker.config.settings import NetworkSettings

_ATTEMPTS = 4
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 60


class BrokerGlueCatalog(BrokerMetastore, GlueCatalog):
    """Loads from a profile of ``type: glue``. Made by ``load_catalog``, or by PyIceberg from ``py-catalog-impl``.

    Each request is signed with the session that the broker holds at that moment. Raises ``ConfigurationError`` for what may
    not be passed on, ``AccessDenied`` for a table that no storage profile of the catalog's contains.
    """

    def __init__(self, name: str, *, binding: Binding | None = None, **properties: Any) -> None:
        self._binding, passed = binding_and_passed(name, binding, properties)
        profile = self._profile()
        told = self._binding.properties(profile, passed)
        self._files = self._binding.storage_files()
        # PyIceberg makes some of its FileIOs from the catalog's properties, by this name.
        made_of = {allowed.FILE_IO: FILE_IOS[self._binding.io], PROPERTY: self._files}
        if GLUE_SKIP_ARCHIVE in profile.properties:
            told[GLUE_SKIP_ARCHIVE] = profile.properties[GLUE_SKIP_ARCHIVE]
        super().__init__(name, client=self._connect(profile), **{**told, **made_of})

    def _profile(self) -> CatalogProfile:
        return self._binding.profile("glue")

    def _connect(self, profile: CatalogProfile) -> Any:
        check_profile(profile)
        signing = signing_of(profile)
        uri = self._binding.uri(profile) if profile.uri is not None else default_uri(profile) or ""
        check_url(profile, "uri", uri)
        keys = BrokerKeys(self._binding.token_source())
        made = client(keys, region=signing.region, endpoint=uri, network=self._binding.broker.network)
        if owner := profile.properties.get(GLUE_ID):
            made.meta.events.register("provide-client-params.glue", _asking(owner))
        return made

    def _convert_glue_to_iceberg(self, glue_table: Any) -> Table:
        return self._rooted(super()._convert_glue_to_iceberg(glue_table))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "glue"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Glue is where this process's own configuration says, and is asked as its own broker says.
        self.glue = self._connect(self._profile())


def client(keys: BrokerKeys, *, region: str, endpoint: str, network: NetworkSettings) -> Any:
    """A client of Glue at ``endpoint``, which it reaches by ``network`` and not by the environment.

    Raises ``ConfigurationError`` for a host that ``network.allowed_hosts`` lacks.
    """
    check_host(network, endpoint)
    settings: dict[str, Any] = {
        **isolated(proxy_for(network, endpoint)),
        "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "use_fips_endpoint": False,
        "use_dualstack_endpoint": False,
    }
    session: Any = session_of(keys)
    made = session.create_client(
        "glue",
        region_name=region,
        endpoint_url=endpoint,
        verify=network.ca_file or True,
        config=Config(**settings),
    )
    keep_no_key_log(made)
    return made


def _asking(owner: str) -> Any:
    """Name the Glue catalog in each call: by default it is that of the role's own account."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params.setdefault("CatalogId", owner)

    return add
