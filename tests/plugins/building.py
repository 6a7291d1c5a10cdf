"""Builds the distributions of this folder as wheels, and installs them where a test wants: no network, no environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
DISTRIBUTIONS = ("acme_provider", "acme_backend")
# PEP 517: what pip calls to make a wheel.
_BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def installed(distribution: str, scratch: Path, into: Path) -> None:
    """Build the wheel in ``scratch`` and unpack it into ``into``, which is what installing pure Python is."""
    source = scratch / distribution
    shutil.copytree(HERE / distribution, source, ignore=shutil.ignore_patterns("__pycache__"))
    wheels = scratch / "wheels"
    wheels.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", _BUILD, str(wheels)], cwd=source, check=True, timeout=120, stdout=subprocess.DEVNULL
    )
    (wheel,) = wheels.glob(f"{distribution}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)


def written(site: Path, module: str, source: str, *, group: str = "credbroker.providers", name: str, attribute: str) -> None:
    """A distribution of one module, as it lies when it is installed."""
    (site / f"{module}.py").write_text(source)
    about = site / f"{module}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")
