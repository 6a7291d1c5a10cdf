"""``service_account`` on Google Cloud: a token for Cloud Storage, narrowed by an access boundary."""

from __future__ import annotations

from typing import NoReturn

from credbroker.context import Context
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.providers.requirements import misconfigured
from credbroker.request import Access, CredentialRequest
from credbroker.vending import gcs


class GcpServiceAccount:
    """Plans access boundaries for ``gs://``."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The access boundary for exactly the asked locations."""
        access = request.access or Access.READ
        return Grant(gcs.access_boundary(request.locations, access), request.locations, access)

    def issue(self, request: CredentialRequest, context: Context) -> NoReturn:
        """Raise ``ConfigurationError``: what it would grant can be explained, and is not issued by this version."""
        raise misconfigured(context.profile, "credentials.mode", "'service_account' is not issued by this version yet")
