"""One source's storage credentials, for clients that take one set and look for none by location."""

from __future__ import annotations

from typing import Any

from credbroker.credentials import ADLSCredentials, GCSCredentials, S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.source import CredentialSource


def credentials_of(source: CredentialSource[Any], value: object) -> StorageCredentials:
    """The source's ``value``; of a table, the one set of credentials that it comes with.

    Raises ``ConfigurationError`` where there are several, an empty key, or what opens no storage.
    """
    profile = source.request.profile
    if isinstance(value, TableCredentials):
        different = {held.fingerprint: held for _, held in value.by_location}
        if len(different) != 1:
            raise ConfigurationError(
                f"the table comes with {len(different)} sets of credentials, each for its own prefix, and this client takes "
                "one: read it by credbroker.integrations.pyiceberg",
                profile=profile,
            )
        (value,) = different.values()
    if not isinstance(value, S3Credentials | GCSCredentials | ADLSCredentials):
        raise ConfigurationError(f"its credentials are {type(value).__name__}, which open no storage", profile=profile)
    if isinstance(value, S3Credentials) and not (value.access_key_id and value.secret_access_key.get_secret_value()):
        # Clients take empty keys for none, and look for others in the environment: another identity, without a word.
        raise ConfigurationError("its credentials have an empty key", profile=profile)
    return value


def locations_of(source: CredentialSource[Any], value: object) -> tuple[Location, ...]:
    """Where a value is to be used: the table's prefixes, else what was asked for. Raises ``ConfigurationError`` for none."""
    request = source.request
    found = value.prefixes if isinstance(value, TableCredentials) else request.locations
    if not found and request.kind == "storage":  # the profile's only one was meant
        found = source._broker.profile("storage", request.profile).locations  # noqa: SLF001
    if not found:
        raise ConfigurationError("it is for no location: use a storage profile or a table", profile=request.profile)
    return found


def blob_host(locations: tuple[Location, ...]) -> str:
    """The host of the blob service of the ADLS account that the locations are in."""
    return locations[0].bucket.partition("@")[2].replace(".dfs.", ".blob.", 1)
