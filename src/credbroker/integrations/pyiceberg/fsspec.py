"""BrokerFsspecFileIO: s3fs file systems whose every request is signed with the keys that are current then."""

from __future__ import annotations

import threading
from functools import cache
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, NoReturn

from pyiceberg.io.fsspec import FsspecFileIO, FsspecInputFile, FsspecOutputFile
from s3fs import S3FileSystem

from credbroker.errors import ConfigurationError
from credbroker.integrations.endpoint import Endpoint, endpoint_of
from credbroker.integrations.pyiceberg import files
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.paths import file_location
from credbroker.integrations.pyiceberg.signing import session_for
from credbroker.location import Location

if TYPE_CHECKING:
    from pyiceberg.io import InputFile, OutputFile
    from pyiceberg.typedef import Properties

_MOST_FILE_SYSTEMS = 64


@cache
def _defaults() -> dict[str, Any]:
    parameters = signature(S3FileSystem.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not Parameter.empty}


class BrokerFsspecFileIO(FsspecFileIO):
    """Asks the broker at each request that is signed: an open file, and an upload of hours, outlive their first keys.

    Made by a catalog of credbroker's; raises ``ConfigurationError`` otherwise.
    """

    def __init__(self, properties: Properties) -> None:
        self._files = files.of(properties)
        super().__init__(properties)
        # As in PyIceberg: one file system is not for many threads (iceberg-python#2495).
        self._of_thread = threading.local()

    def get_fs(self, scheme: str, hostname: str | None = None) -> NoReturn:
        """Raise ``ConfigurationError``: the stock ones take keys from properties, and without any from the environment."""
        raise ConfigurationError(f"no file system for {scheme}:// as a whole: credentials are for a location")

    def new_input(self, location: str) -> FsspecInputFile:
        """The file at ``location``, to be read."""
        return FsspecInputFile(location=location, fs=self._file_system(location))

    def new_output(self, location: str) -> FsspecOutputFile:
        """The file at ``location``, to be written. Raises ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return FsspecOutputFile(location=location, fs=self._file_system(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete the file. Raises ``AccessDenied`` where the catalog was loaded to read, ``OSError``."""
        self._files.need_write()
        text = location if isinstance(location, str) else location.location
        self._file_system(text).rm_file(text)

    def _file_system(self, location: str) -> S3FileSystem:
        held: dict[Location, tuple[Endpoint, S3FileSystem]] = self._of_thread.__dict__.setdefault("held", {})
        wanted = file_location(location)
        prefix, credentials = self._files.get(wanted)
        place = endpoint_of(credentials, wanted.bucket, self._files.network)
        if prefix in held and held[prefix][0] == place:
            return held[prefix][1]
        if len(held) >= _MOST_FILE_SYSTEMS:
            held.clear()
        held[prefix] = (place, self._made(wanted, place))
        return held[prefix][1]

    def _made(self, wanted: Location, place: Endpoint) -> S3FileSystem:
        # What the environment says of proxies and endpoints is not meant for this client.
        config: dict[str, Any] = {
            "proxies": {"http": place.proxy, "https": place.proxy} if place.proxy else {},
            "ignore_configured_endpoint_urls": True,
            "s3": {"addressing_style": "virtual" if place.virtual else "path"},
        }
        if timeout := self.properties.get(allowed.CONNECT_TIMEOUT):
            config["connect_timeout"] = float(timeout)
        if timeout := self.properties.get(allowed.REQUEST_TIMEOUT):
            config["read_timeout"] = float(timeout)
        given = {
            # fsspec fills each argument that is not given from FSSPEC_S3_* and ~/.config/fsspec: other keys, an endpoint, or
            # none at all would take the place of the session's. So every one is given.
            **_defaults(),
            "session": session_for(self._files, wanted),
            "client_kwargs": {"endpoint_url": place.url, "region_name": place.region, "verify": place.ca_file or True},
            "config_kwargs": config,
            "use_listings_cache": False,
            "skip_instance_cache": True,  # one table's file system is not for another's FileIO (iceberg-python#3970)
        }
        made = S3FileSystem(**given)
        foreign = sorted(made.storage_options.keys() - given.keys())
        if foreign:
            raise ConfigurationError(
                f"fsspec is configured with {', '.join(foreign)} for s3: remove it from its configuration"
            )
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {"properties": self.properties}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["properties"])  # type: ignore[misc]  # nothing but these made it
