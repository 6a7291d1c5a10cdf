"""Where ``.ci/servers`` puts Spark, and a jar with Iceberg and the AWS SDK for Java."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

INSTALL = "run .ci/servers"

# Read when this file is imported: a test's environment has none of our variables.
_SERVERS = Path(os.environ.get("CREDBROKER_TEST_SERVERS") or Path(__file__).resolve().parents[2] / ".servers")
PYTHON = _SERVERS / "spark" / "bin" / "python"
"""Of a virtual environment with pyspark."""
JAR = _SERVERS / "spark" / "sagemaker-feature-store-spark-sdk-3.5.jar"


def installed() -> bool:
    """Whether Java, Spark and the jar are there to be run."""
    return shutil.which("java") is not None and PYTHON.is_file() and JAR.is_file()
