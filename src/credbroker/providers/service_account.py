"""``service_account``: an identity of Google Cloud, Azure or Kubernetes, for exactly what is asked. One file a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credbroker.context import Context
from credbroker.profile import Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers.requirements import check_profile, misconfigured, settings
from credbroker.request import CredentialRequest

if TYPE_CHECKING:
    from credbroker.credentials import Credential
    from credbroker.providers import Provider

_OF_STORE = {"gcs": "gcp", "azure": "azure"}


class ServiceAccountProvider:
    """Issues by the platform that the store's type says, or ``credentials.platform``."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``: the access boundary, the fields of the SAS, or nothing for a token."""
        return _of(profile).plan(request, profile)

    def issue(self, request: CredentialRequest, context: Context) -> Credential:
        """See ``Provider.issue``. Raises what the platform's own does."""
        return _of(context.profile).issue(request, context)


def _of(profile: Profile) -> Provider:
    block = settings(profile)
    check_profile(profile)
    stated = block.platform
    platform = _OF_STORE.get(profile.type) if isinstance(profile, StorageProfile) else stated
    if platform is None and isinstance(profile, StorageProfile):
        raise misconfigured(profile, "type", f"is {profile.type!r}: mode service_account serves 'gcs' and 'azure'")
    if platform is None:
        raise misconfigured(profile, "credentials.platform", "is missing: say gcp, azure or kubernetes")
    if stated not in (None, platform):
        raise misconfigured(profile, "credentials.platform", f"is {stated!r}, and the store is {platform!r}'s: leave it out")
    if platform == "gcp":
        from credbroker.providers.service_account_gcp import GcpServiceAccount

        return GcpServiceAccount()
    if platform == "azure":
        from credbroker.providers.service_account_azure import AzureServiceAccount

        return AzureServiceAccount()
    from credbroker.providers.service_account_kubernetes import KubernetesServiceAccount

    return KubernetesServiceAccount()
