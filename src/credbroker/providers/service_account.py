"""``service_account``: an identity of Google Cloud or Azure, narrowed to exactly the asked locations.

This version says what it would grant (``explain``); it does not issue yet.
"""

from __future__ import annotations

from typing import NoReturn

from credbroker.context import Context
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers.requirements import check_profile, misconfigured, settings
from credbroker.request import Access, CredentialRequest
from credbroker.vending import adls, gcs


class ServiceAccountProvider:
    """Plans access boundaries for ``gs://`` and user-delegation SAS for ``abfss://``."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The access boundary, or the fields of the SAS, for exactly the asked locations.

        Raises ``ConfigurationError`` for settings that cannot work, and for locations that neither can express or hold.
        """
        settings(profile)
        if not isinstance(profile, StorageProfile):
            raise misconfigured(profile, "credentials.mode", "'service_account' serves storage only in this version")
        check_profile(profile)
        access = request.access or Access.READ
        if profile.type == "gcs":
            return Grant(gcs.access_boundary(request.locations, access), request.locations, access)
        if profile.type == "azure":
            granted = adls.granted(request.locations, allow_container_scope=profile.allow_container_scope)
            fields = adls.sas_fields(request.locations, access, allow_container_scope=profile.allow_container_scope)
            return Grant(fields, (granted,), access)
        raise misconfigured(profile, "type", f"is {profile.type!r}: mode service_account serves 'gcs' and 'azure'")

    def issue(self, request: CredentialRequest, context: Context) -> NoReturn:
        """Raise ``ConfigurationError``: what it would grant can be explained, and is not issued by this version."""
        raise misconfigured(
            context.profile,
            "credentials.mode",
            "'service_account' is not issued by this version of credbroker yet: it can be explained only",
        )
