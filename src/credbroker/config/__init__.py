"""platform.yaml: read within bounds, checked as a whole, compiled into the frozen values of ``credbroker.profile``."""

from __future__ import annotations

from credbroker.config.backends import resolver
from credbroker.config.load import from_data, load_files
from credbroker.config.platform import PlatformConfig
from credbroker.config.settings import AuditSettings, NetworkSettings, Platform

__all__ = [
    "AuditSettings",
    "NetworkSettings",
    "Platform",
    "PlatformConfig",
    "from_data",
    "load_files",
    "resolver",
]
