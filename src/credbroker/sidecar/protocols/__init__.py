"""The protocols, one module each. None of them loads an SDK."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from credbroker.sidecar.protocol import Protocol
from credbroker.sidecar.protocols import (
    aws_container,
    azure_app_service,
    azure_imds,
    gce_metadata,
    google_subject_token,
    iceberg_credentials,
    oauth2_token,
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        module.PROTOCOL.name: module.PROTOCOL
        for module in (
            aws_container,
            gce_metadata,
            azure_app_service,
            azure_imds,
            oauth2_token,
            google_subject_token,
            iceberg_credentials,
        )
    }
)
"""By name, in the order in which they are shown."""
