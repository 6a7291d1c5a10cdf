"""BrokerRestCatalog: PyIceberg's REST catalog, with the broker's token and the broker's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pyiceberg.catalog.rest import RestCatalog, TableResponse
from pyiceberg.exceptions import UnauthorizedError
from pyiceberg.table import StagedTable, Table
from pyiceberg.typedef import EMPTY_DICT, Properties

from credbroker.errors import MalformedResponse
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.binding import Binding
from credbroker.integrations.pyiceberg.fileio import file_io
from credbroker.integrations.pyiceberg.files import Files
from credbroker.integrations.pyiceberg.roots import check_location_provider, check_roots, roots_of
from credbroker.integrations.pyiceberg.strings import binding_and_passed
from credbroker.integrations.pyiceberg.transport import session
from credbroker.profile import CatalogProfile
from credbroker.providers._signed_catalog import default_uri, is_signed, signing_of
from credbroker.providers.realm import realm_header
from credbroker.providers.requirements import check_profile, check_url
from credbroker.wire import iceberg

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from requests import Session  # noqa: TID251 - PyIceberg's

_TYPES = ("rest", "polaris", "s3tables")


class BrokerRestCatalog(RestCatalog):
    """Loads from a profile of ``type: rest`` or ``s3tables``. Made by ``load_catalog``, or by PyIceberg by its name.

    The server is asked for no storage credentials here: the broker asks for them itself, and refreshes them. What the server
    says beside its paths, a table's ``config`` and a table's properties reach neither a FileIO nor the session.
    Raises ``ConfigurationError`` for what may not be passed on.
    """

    def __init__(self, name: str, *, binding: Binding | None = None, **properties: Any) -> None:
        self._binding, passed = binding_and_passed(name, binding, properties)
        profile = self._profile()
        super().__init__(name, **self._binding.properties(profile, passed), uri=self._checked_uri(profile))

    def _profile(self) -> CatalogProfile:
        return self._binding.profile(*_TYPES)

    def _checked_uri(self, profile: CatalogProfile) -> str:
        known = default_uri(profile) if profile.uri is None else None
        uri = known or self._binding.uri(profile)
        check_url(profile, "uri", uri)
        return uri

    def _create_session(self) -> Session:
        profile, binding = self._profile(), self._binding
        check_profile(profile)
        signing = signing_of(profile) if is_signed(profile) else None
        made = session(self.uri, binding.token_source(), binding.catalog, binding.broker.network, signing)
        self._config_headers(made)
        # With it the server would vend keys into properties that nothing refreshes and every pickle carries.
        made.headers.pop("X-Iceberg-Access-Delegation", None)
        made.headers.update(realm_header(profile))
        return made

    def _fetch_config(self) -> None:
        told, uri = self.properties, self.uri
        try:
            super()._fetch_config()
        except (AttributeError, TypeError, ValueError):
            # PyIceberg's words for an answer of the wrong shape, some of which show what was received.
            malformed = True
        else:
            malformed = False
        if malformed:
            raise MalformedResponse("the catalog's /v1/config is no such answer", profile=self._binding.catalog)
        # As the broker's own calls read it: a prefix with dot segments would lead to other routes of that host.
        config = iceberg.catalog_config({"overrides": allowed.from_server(self.properties)})
        self.properties = {**allowed.from_server(self.properties), "prefix": config.prefix, **told}
        self._settle(uri)

    def _settle(self, uri: str) -> None:
        """The catalog is at ``uri``, which is not shown where the profile has it by reference."""
        self.uri = uri
        self.properties = {key: value for key, value in self.properties.items() if key != allowed.URI}
        if isinstance(self._profile().uri, str):
            self.properties[allowed.URI] = uri

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        own = self._profile().type == "s3tables"
        return self._file_io(self._binding.own_files() if own else self._binding.storage_files())

    def _file_io(self, files: Files) -> FileIO:
        return file_io(self._binding.io, files, self.properties)

    def _response_to_table(self, identifier_tuple: tuple[str, ...], table_response: TableResponse) -> Table:
        return Table(
            identifier=identifier_tuple,
            metadata_location=table_response.metadata_location or "",
            metadata=table_response.metadata,
            io=self._file_io(self._files_of(identifier_tuple, table_response)),
            catalog=self,
        )

    def _files_of(self, identifier: tuple[str, ...] | None, answer: TableResponse) -> Files:
        profile, roots = self._profile(), roots_of(answer.metadata)
        check_location_provider(answer.metadata, self._binding.access)
        if profile.type == "s3tables":  # it has no storage but its own, and vends nothing
            files = self._binding.own_files()
        elif identifier is None or profile.access_delegation == "none":
            files = self._binding.storage_files(*roots)
        else:
            files = self._binding.table_files(identifier)
        check_roots(roots, self._binding)
        return files

    def _response_to_staged_table(self, identifier_tuple: tuple[str, ...], table_response: TableResponse) -> StagedTable:
        # The server knows no such table yet, so there is none to ask credentials for.
        return StagedTable(
            identifier=identifier_tuple,
            metadata_location=table_response.metadata_location or "",
            metadata=table_response.metadata,
            io=self._file_io(self._files_of(None, table_response)),
            catalog=self,
        )

    def _refresh_token(self) -> NoReturn:
        # PyIceberg calls this before it sends a refused request again. The transport has done that by now, with a new token.
        raise UnauthorizedError(
            f"the catalog of profile {self._binding.catalog!r} refuses the broker's token, and no other is to be had"
        ) from None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_session", "uri")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # The catalog is where this process's own configuration says.
        self._settle(self._checked_uri(self._profile()))
        self._session = self._create_session()
