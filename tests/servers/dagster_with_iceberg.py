"""Where ``.ci/servers`` puts dagster-iceberg, and how this tree's package is seen there."""

from __future__ import annotations

import os
from importlib.metadata import distribution
from pathlib import Path

INSTALL = "run .ci/servers"

# Read when this file is imported: a test's environment has none of our variables.
_SERVERS = Path(os.environ.get("CREDBROKER_TEST_SERVERS") or Path(__file__).resolve().parents[2] / ".servers")
PYTHON = _SERVERS / "dagster-iceberg" / "bin" / "python"
"""Of a virtual environment with dagster-iceberg, PyIceberg 0.11 and what credbroker depends on."""
LOCATION = Path(__file__).with_name("dagster_iceberg_lake.py")


def installed() -> bool:
    return PYTHON.is_file()


def python_path(folder: Path) -> str:
    """``PYTHONPATH`` with this tree's sources, and below ``folder`` the metadata by which its providers are found."""
    import credbroker

    metadata = folder / "credbroker_data-0.dist-info"
    metadata.mkdir(parents=True)
    found = distribution("credbroker-data")
    for name in ("METADATA", "entry_points.txt"):
        (metadata / name).write_text(found.read_text(name) or "")
    return os.pathsep.join([str(Path(credbroker.__file__).parents[1]), str(folder)])
