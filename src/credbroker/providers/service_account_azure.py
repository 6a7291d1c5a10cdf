"""``service_account`` on Azure: a user-delegation SAS for exactly what is asked."""

from __future__ import annotations

from typing import NoReturn

from credbroker.context import Context
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers.requirements import misconfigured
from credbroker.request import Access, CredentialRequest
from credbroker.vending import adls


class AzureServiceAccount:
    """Plans user-delegation SAS for ``abfss://``."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The fields of the SAS for exactly the asked locations."""
        access = request.access or Access.READ
        if not isinstance(profile, StorageProfile):
            raise misconfigured(profile, "credentials.mode", "'service_account' serves storage only in this version")
        granted = adls.granted(request.locations, allow_container_scope=profile.allow_container_scope)
        fields = adls.sas_fields(request.locations, access, allow_container_scope=profile.allow_container_scope)
        return Grant(fields, (granted,), access)

    def issue(self, request: CredentialRequest, context: Context) -> NoReturn:
        """Raise ``ConfigurationError``: what it would grant can be explained, and is not issued by this version."""
        raise misconfigured(context.profile, "credentials.mode", "'service_account' is not issued by this version yet")
