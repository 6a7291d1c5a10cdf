"""BrokerPyArrowFileIO: PyArrow file systems that follow the broker's refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.io.pyarrow import ONE_MEGABYTE, PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.integrations.endpoint import Endpoint, endpoint_of
from credbroker.integrations.pyiceberg import files
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.paths import file_location
from credbroker.location import Location

if TYPE_CHECKING:
    from pyiceberg.io import InputFile, OutputFile

_MOST_FILE_SYSTEMS = 64


class _KeyedFile(PyArrowFile):
    """A file with the file system it is opened by, and that has keys in it."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a file of a table holds keys and is not pickled: pickle the table, and open the file where it is used"
        )


class BrokerPyArrowFileIO(PyArrowFileIO):
    """Asks the broker at each file that is opened, written or deleted, and so uses the keys that are current then.

    One file system is kept for each prefix, until its keys are replaced. A file that is open keeps the keys it was opened
    with: one file operation must fit between ``refresh_at`` and the end of the credential. Only a catalog of credbroker's
    makes one; raises ``ConfigurationError`` otherwise.
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        self._files = files.of(properties)
        self._current: dict[Location, tuple[S3Credentials, FileSystem]] = {}
        super().__init__(properties)
        self.fs_by_scheme = self._initialize_fs

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> NoReturn:
        # The stock ones take keys from properties, and without any from the environment.
        raise ConfigurationError(f"no file system for {scheme}:// as a whole: credentials are for a location")

    def new_input(self, location: str) -> PyArrowFile:
        """The file at ``location``, to be read with the keys that are current now."""
        return self._file(location)

    def new_output(self, location: str) -> PyArrowFile:
        """The file at ``location``, to be written. Raises ``AccessDenied`` where the catalog was loaded to read."""
        self._files.need_write()
        return self._file(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete the file. Raises ``AccessDenied`` where the catalog was loaded to read, else as PyIceberg's does."""
        self._files.need_write()
        text = location if isinstance(location, str) else location.location
        file_system, path = self._file_system(text)
        try:
            file_system.delete_file(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == 2 or "Path does not exist" in str(error):
                raise FileNotFoundError(f"Cannot delete file, does not exist: {text}") from error
            raise

    def _file(self, location: str) -> PyArrowFile:
        file_system, path = self._file_system(location)
        buffer_size = int(self.properties.get(allowed.BUFFER_SIZE, ONE_MEGABYTE))
        return _KeyedFile(location=location, path=path, fs=file_system, buffer_size=buffer_size)

    def _file_system(self, location: str) -> tuple[FileSystem, str]:
        wanted = file_location(location)
        prefix, credentials = self._files.get(wanted)
        path = f"{wanted.bucket}/{wanted.key}"
        held = self._current.get(prefix)
        if held is not None and (held[0] is credentials or held[0].fingerprint == credentials.fingerprint):
            return held[1], path
        place = endpoint_of(credentials, wanted.bucket, self._files.network)
        made = S3FileSystem(**s3_arguments(credentials, place, self.properties))
        if len(self._current) >= _MOST_FILE_SYSTEMS:
            self._current = {}
        self._current[prefix] = (credentials, made)
        return made, path

    def __getstate__(self) -> dict[str, Any]:
        return {"properties": self.properties}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["properties"])  # type: ignore[misc]  # nothing but these made it


def s3_arguments(credentials: S3Credentials, place: Endpoint, properties: Properties = EMPTY_DICT) -> dict[str, Any]:
    """What ``pyarrow.fs.S3FileSystem`` is made of: nothing in it is left for Arrow to find in the environment."""
    arguments: dict[str, Any] = {
        "access_key": credentials.access_key_id,
        "secret_key": credentials.secret_access_key.get_secret_value(),
        "session_token": credentials.session_token.get_secret_value() if credentials.session_token else None,
        "region": place.region,
        "endpoint_override": place.url,
        "force_virtual_addressing": place.virtual,
    }
    if place.proxy is not None:
        arguments["proxy_options"] = place.proxy
    if place.ca_file is not None:
        arguments["tls_ca_file_path"] = place.ca_file
    if timeout := properties.get(allowed.CONNECT_TIMEOUT):
        arguments["connect_timeout"] = float(timeout)
    if timeout := properties.get(allowed.REQUEST_TIMEOUT):
        arguments["request_timeout"] = float(timeout)
    return arguments
