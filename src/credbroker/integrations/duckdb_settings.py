"""What a DuckDB secret is told: where it is for, by which keys, and how the store is reached.

The words are those of DuckDB's httpfs and azure extensions ("S3 API Support", "Azure Extension").
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from credbroker.credentials import ADLSCredentials, GCSCredentials
from credbroker.errors import ConfigurationError
from credbroker.integrations.endpoint import endpoint_of
from credbroker.integrations.reach import check_host, network_of
from credbroker.integrations.storage import blob_host, credentials_of, locations_of
from credbroker.location import Location
from credbroker.source import CredentialSource

# The same store by another scheme: DuckDB compares a secret's scope with a path as a text.
_SCHEMES = {"s3": ("s3", "s3a"), "gs": ("gs", "gcs"), "abfss": ("abfss",)}
_GOOGLE = "storage.googleapis.com"


def settings_of(source: CredentialSource[Any], value: object) -> tuple[str, dict[str, Any]]:
    """The secret's type and what it is told: all of it, so that no setting and no variable of the environment says more.

    Raises ``ConfigurationError`` for a value that is no table's or storage's one set of credentials, and for a host that
    ``network.allowed_hosts`` lacks.
    """
    held, locations = credentials_of(source, value), locations_of(source, value)
    network = network_of(source)
    scope = [
        # With the slash: as a text s3://lake/sales begins s3://lake/sales2 too.
        f"{scheme}://{location.bucket}/{location.prefix}"
        for location in locations
        for scheme in _SCHEMES[location.scheme]
    ]
    if isinstance(held, GCSCredentials):
        check_host(network, f"https://{_GOOGLE}")
        token = held.access_token.get_secret_value()
        return "gcs", {"BEARER_TOKEN": token, "ENDPOINT": _GOOGLE, "USE_SSL": True, "VERIFY_SSL": True, "SCOPE": scope}
    if isinstance(held, ADLSCredentials):
        return "azure", {"CONNECTION_STRING": _connection_string(source, held, locations), "SCOPE": scope}
    place = endpoint_of(held, locations[0].bucket, network)
    return "s3", {
        "KEY_ID": held.access_key_id,
        "SECRET": held.secret_access_key.get_secret_value(),
        "SESSION_TOKEN": held.session_token.get_secret_value() if held.session_token else "",
        "REGION": place.region,
        "ENDPOINT": urlsplit(place.url).netloc,
        "URL_STYLE": "vhost" if place.virtual else "path",
        "USE_SSL": place.url.startswith("https://"),
        "VERIFY_SSL": True,  # by default the one of its two HTTP clients asks for no certificate
        "SCOPE": scope,
    }


def _connection_string(source: CredentialSource[Any], held: ADLSCredentials, locations: tuple[Location, ...]) -> str:
    """Microsoft, "Configure Azure Storage connection strings"."""
    host = blob_host(locations)
    check_host(network_of(source), f"https://{host}")
    sas = held.sas_token.get_secret_value()
    if ";" in sas:
        del sas
        raise ConfigurationError("the SAS has a ';', which would begin another field", profile=source.request.profile)
    dfs = host.replace(".blob.", ".dfs.", 1)
    return f"BlobEndpoint=https://{host};DfsEndpoint=https://{dfs};AccountName={held.account};SharedAccessSignature={sas}"
