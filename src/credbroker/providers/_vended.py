"""From the keys that a catalog vends to a value, checked as a caller's request would be.

All or nothing: one prefix outside of what the profile allows, and nothing of the reply is handed out.
"""

from __future__ import annotations

from datetime import datetime

from credbroker.context import Context, HttpResponse
from credbroker.credentials import ADLSCredentials, GCSCredentials, S3Credentials, StorageCredentials, TableCredentials
from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.profile import CatalogProfile, StorageProfile
from credbroker.providers._iceberg_rest import check_account_host, check_endpoint
from credbroker.providers.backing import beyond, bounds, storage_for
from credbroker.providers.requirements import resolved_url, settings
from credbroker.wire.expiry import corrected
from credbroker.wire.iceberg_keys import ADLSKeys, GCSKeys, S3Keys, VendedKeys


def value_of(
    vended: tuple[VendedKeys, ...], uri: str, answer: HttpResponse, context: Context, profile: CatalogProfile
) -> TableCredentials:
    """The table's credentials, of keys that the catalog at ``uri`` vends in ``answer``. Raises ``MalformedResponse``."""
    for keys in vended:
        fault = beyond(profile, keys.prefix)
        if fault is not None:
            raise MalformedResponse(f"the catalog vends keys for {keys.prefix}, {fault}")
    by_location: list[tuple[Location, StorageCredentials]] = []
    for keys in vended:
        ends = _ends(keys, profile, answer)
        storage = storage_for(profile, keys.prefix)
        value: StorageCredentials
        if isinstance(keys, S3Keys):
            value = _s3(keys, ends, storage, uri=uri, context=context, profile=profile)
        elif isinstance(keys, GCSKeys):
            # The token does not say what it reaches, nor what for: the prefix is the catalog's word.
            value = GCSCredentials(keys.access_token, expires_at=ends, locations=(keys.prefix,), access=None)
        else:
            value = _adls(keys, ends, storage, profile)
        by_location.append((keys.prefix, value))
    return TableCredentials(tuple(by_location))


def _s3(
    keys: S3Keys,
    ends: datetime,
    storage: StorageProfile | None,
    *,
    uri: str,
    context: Context,
    profile: CatalogProfile,
) -> S3Credentials:
    # Where a storage profile knows the place, the catalog has no say in how it is reached.
    return S3Credentials(
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
        region=(storage.region if storage else None) or keys.region,
        endpoint=resolved_url(storage, "endpoint", context) if storage else check_endpoint(keys, profile, uri),
        expires_at=ends,
        locations=(keys.prefix,),
        access=None,  # a catalog does not state it
    )


def _adls(keys: ADLSKeys, ends: datetime, storage: StorageProfile | None, profile: CatalogProfile) -> ADLSCredentials:
    if bounds(profile) is None:
        check_account_host(keys.prefix, profile)
    allowed = storage is not None and storage.allow_container_scope
    granted = keys.signed.within(keys.prefix, allow_container_scope=allowed)
    return ADLSCredentials(keys.account, keys.sas_token, expires_at=ends, locations=(granted,), access=keys.signed.access)


def _ends(keys: VendedKeys, profile: CatalogProfile, answer: HttpResponse) -> datetime:
    stated = keys.expires_at
    if isinstance(keys, ADLSKeys):
        # The store goes by what is signed, whatever the catalog says beside it (apache/polaris#4751).
        stated = min(stated or keys.signed.ends, keys.signed.ends)
    if stated is None:
        assumed = settings(profile).default_ttl
        if assumed is None:
            raise MalformedResponse(
                f"the catalog vends keys for {keys.prefix} and does not say when they end: set credentials.default_ttl to "
                "their life"
            )
        return answer.sent + assumed
    ends = corrected(stated, answer.headers.get("date"), answer.sent, answer.received)
    # A SAS ends by Azure's clock: a catalog that is slow gives it no more life.
    return min(ends, keys.signed.ends) if isinstance(keys, ADLSKeys) else ends
