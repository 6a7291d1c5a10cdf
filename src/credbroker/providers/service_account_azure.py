"""``service_account`` on Azure: a user-delegation SAS for exactly what is asked, or a token of Microsoft Entra.

A SAS is signed here, by a key that the storage account gives to the identity (Microsoft, "Create a user delegation SAS").
The key is one an account, held in the broker's store as any credential, and so is the token that it is asked for with: of
however many directories, each further SAS costs no request.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from credbroker.context import Context
from credbroker.credentials import AccessToken, ADLSCredentials, Credential, DelegationKey
from credbroker.errors import ConfigurationError
from credbroker.identity import azure as entra
from credbroker.identity.azure_delegation import LONGEST, account_lead, delegation_key, key_request
from credbroker.limits import asked_scopes
from credbroker.location import Location
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers._entra import check_identity, entra_token
from credbroker.providers.requirements import misconfigured, no_audience
from credbroker.request import Access, CredentialRequest
from credbroker.vending import adls

_STORAGE = "https://storage.azure.com/.default"
"""One resource in every cloud (Microsoft, "Authorize access to blobs using Microsoft Entra ID")."""
_TOKEN, _KEY = f"token:{_STORAGE}", "delegation-key:"
# How an account's host ends, and with that whom to ask for its token: it is sent to no host that is not Azure's. The second
# is that of accounts with a DNS zone of their own.
_AUTHORITIES = {
    "core.windows.net": entra.PUBLIC,
    "storage.azure.net": entra.PUBLIC,
    "core.chinacloudapi.cn": entra.CHINA,
    "core.usgovcloudapi.net": entra.US_GOVERNMENT,
}
# The clouds of the other resources, by how their names end.
_CLOUDS = {".chinacloudapi.cn": entra.CHINA, ".azure.cn": entra.CHINA}
_CLOUDS |= {".usgovcloudapi.net": entra.US_GOVERNMENT, ".azure.us": entra.US_GOVERNMENT}
_DEFAULT = "/.default"
_SKEW = timedelta(minutes=5)
"""How far the account's clock may be off ours before a key is asked for by its own."""
_SIGNS = timedelta(hours=1)
"""How long one key signs. It lives as much longer as the last SAS that it signs, and no more."""
_LONGEST_SAS = timedelta(days=6)


class AzureServiceAccount:
    """Issues ``ADLSCredentials`` for ``abfss://``, and ``AccessToken`` for catalogs and compute."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The fields of the SAS for exactly the asked locations; a token has no policy.

        Raises ``ConfigurationError`` for settings that cannot work, and for locations that one SAS cannot open.
        """
        if not isinstance(profile, StorageProfile):
            check_identity(profile, "scope", "scopes")
            _scope(request, profile)
            return Grant()
        check_identity(profile)
        _authority(profile)
        if request.base is not None:
            return Grant()
        return _grant(request, profile)

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        """See ``Provider.issue``. A SAS takes no request at all where its account's key is held.

        Raises what ``entra_token`` and ``delegation_key`` do.
        """
        profile = context.profile
        self.plan(request, profile)
        if not isinstance(profile, StorageProfile):
            scope = _scope(request, profile)
            return entra_token(scope, _authority_of(scope), request, context)
        if request.base is None:
            return _signed(request, profile, context)
        if request.base == _TOKEN:
            return entra_token(_STORAGE, _authority(profile), request, context)
        return _key(request.base.removeprefix(_KEY), profile, context)


def _signed(request: CredentialRequest, profile: StorageProfile, context: Context) -> ADLSCredentials:
    grant = _grant(request, profile)
    (opened,) = grant.locations or ()
    host = _blob_host(opened)
    key = context.base(f"{_KEY}{host}")
    if not isinstance(key, DelegationKey):
        raise ConfigurationError(f"what is held for {host} is no user delegation key", profile=profile.name)
    # Computed once: what is signed, by the account's clock, is what is told, by ours (apache/polaris#4751).
    expires_at = min((context.clock.now() + _life(profile)).replace(microsecond=0), key.expiry - key.lead)
    return ADLSCredentials(
        account=host.partition(".")[0],
        sas_token=adls.sign(grant.policy or {}, key, expires_at + key.lead),
        expires_at=expires_at,
        locations=grant.locations,
        access=grant.access,
    )


def _key(host: str, profile: StorageProfile, context: Context) -> DelegationKey:
    reserve = _life(profile)
    start, expiry = _span(context.clock.now(), reserve)
    token = _held_token(profile, context)
    response = context.send(key_request(host, token.value, start, expiry))
    if response.status == 401 and context.drop(_TOKEN, token):
        token = _held_token(profile, context)
        response = context.send(key_request(host, token.value, start, expiry))
    lead = account_lead(response)
    if response.status in (200, 400) and abs(lead) > _SKEW:
        # This key begins in the account's future, or is over there too early; where it is all in its past, it is a 400.
        start, expiry = _span(context.clock.now() + lead, reserve)
        response = context.send(key_request(host, token.value, start, expiry))
    return delegation_key(response, host, start=start, expiry=expiry, reserve=reserve)


def _span(now: datetime, reserve: timedelta) -> tuple[datetime, datetime]:
    """From when until when a key is asked for, where it is ``now``."""
    start = now.replace(microsecond=0) - _SKEW
    return start, min(start + _SKEW + reserve + _SIGNS, start + LONGEST)


def _held_token(profile: Profile, context: Context) -> AccessToken:
    token = context.base(_TOKEN)
    if not isinstance(token, AccessToken):
        raise ConfigurationError("what is held for Azure Storage is no access token", profile=profile.name)
    return token


def _grant(request: CredentialRequest, profile: StorageProfile) -> Grant:
    access, whole = request.access or Access.READ, profile.allow_container_scope
    fields = adls.sas_fields(request.locations, access, allow_container_scope=whole)
    return Grant(fields, (adls.granted(request.locations, allow_container_scope=whole),), access)


def _life(profile: Profile) -> timedelta:
    return min(profile.max_ttl, _LONGEST_SAS)


def _blob_host(location: Location) -> str:
    """The blob service's host of a location's account: keys are had there, its dfs service has none."""
    return location.bucket.partition("@")[2].replace(".dfs.", ".blob.", 1)


def _authority(profile: StorageProfile) -> str:
    """Who gives tokens for the profile's accounts. Raises ``ConfigurationError`` for hosts of no cloud, or of two."""
    found = set()
    for location in profile.locations:
        if location.scheme != "abfss":
            raise misconfigured(profile, "locations", f"has {location}, which is not on ADLS: a SAS cannot open it")
        suffix = location.bucket.partition(".dfs.")[2]
        if suffix not in _AUTHORITIES:
            known = ", ".join(f"<account>.dfs.{one}" for one in _AUTHORITIES)
            raise misconfigured(profile, "locations", f"has {location}, on a host that is not Azure's: use {known}")
        found.add(_AUTHORITIES[suffix])
    if len(found) > 1:
        raise misconfigured(profile, "locations", "lie in two clouds, and one identity is in one: make a profile for each")
    return found.pop() if found else entra.PUBLIC


def _scope(request: CredentialRequest, profile: Profile) -> str:
    no_audience(request, "Entra, whose scope names the resource")
    scopes = sorted(asked_scopes(request, profile))
    if not scopes:
        raise misconfigured(profile, "credentials.scope", "is missing: name the resource, with '/.default' behind it")
    if len(scopes) > 1:
        raise misconfigured(
            profile, "credentials.scope", f"names {len(scopes)} scopes: one token of Entra is for one resource"
        )
    if not scopes[0].endswith(_DEFAULT) or scopes[0] == _DEFAULT:
        raise misconfigured(
            profile, "credentials.scope", f"must be '<resource>{_DEFAULT}': an application is given no other"
        )
    return scopes[0]


def _authority_of(scope: str) -> str:
    host = scope.removesuffix(_DEFAULT).partition("://")[2].partition("/")[0]
    return next((authority for end, authority in _CLOUDS.items() if host.endswith(end)), entra.PUBLIC)
