"""Which FileIO class goes with ``io``, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from credbroker.integrations import pyiceberg as adapters
from credbroker.integrations.pyiceberg import properties as allowed
from credbroker.integrations.pyiceberg.binding import FILE_IOS, FileIOName
from credbroker.integrations.pyiceberg.files import PROPERTY, Files

if TYPE_CHECKING:
    from pyiceberg.io import FileIO


def file_io(io: FileIOName, files: Files, properties: Mapping[str, Any]) -> FileIO:
    """A FileIO over ``files``. Raises ``ConfigurationError`` that names the extra where its packages are missing."""
    made: FileIO = getattr(adapters, FILE_IOS[io].rpartition(".")[2])(
        # The class too: what is made of a FileIO's properties alone (a StaticTable) is then ours, and no stock one.
        {**allowed.for_files(properties), allowed.FILE_IO: FILE_IOS[io], PROPERTY: files}
    )
    return made
