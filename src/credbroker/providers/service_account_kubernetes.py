"""``service_account`` on Kubernetes: the projected, audience-bound token of the pod."""

from __future__ import annotations

from typing import NoReturn

from credbroker.context import Context
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.providers.requirements import misconfigured
from credbroker.request import CredentialRequest


class KubernetesServiceAccount:
    """Hands out the token that the kubelet projects."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """Nothing narrows it."""
        raise misconfigured(profile, "credentials.mode", "'service_account' serves storage only in this version")

    def issue(self, request: CredentialRequest, context: Context) -> NoReturn:
        """As ``plan``."""
        raise misconfigured(context.profile, "credentials.mode", "'service_account' serves storage only in this version")
