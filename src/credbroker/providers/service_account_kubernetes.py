"""``service_account`` on Kubernetes: the pod's projected, audience-bound token as a bearer.

The kubelet writes it into a file and replaces that at 80 % of its life
(https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection).
Who takes it verifies it, by the cluster's keys or its TokenReview; here it is only looked at for when to let go of it, and
whether it is the wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, CredbrokerError, InsufficientLifetime
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.providers._subject_token import ago, check_subject, subject
from credbroker.providers.requirements import misconfigured, settings, takes
from credbroker.request import CredentialRequest
from credbroker.wire.jwt import audiences, instant, unverified_claims

_FIELD = "credentials.subject_token.file"
_MOST_SKEW = timedelta(seconds=60)


class KubernetesServiceAccount:
    """Hands out the token that the kubelet projects, until its own end."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """See ``Provider.plan``. Nothing narrows such a token: what it allows is said by who takes it."""
        block = settings(profile)
        if block.subject_token is None or not block.subject_token.file:
            fault = "is missing: name the file that the pod's serviceAccountToken volume projects, with its audience"
            raise misconfigured(profile, _FIELD, fault)
        check_subject(profile)
        takes(profile, "platform", "subject_token", "audience", by="by platform 'kubernetes', whose token is as it is")
        if not (block.audience or request.audience):
            # A file with the pod's default token would do, with which its taker can act as the pod at the API server.
            fault = "is missing: name whom the token is for, as 'audience' of the pod's serviceAccountToken volume does"
            raise misconfigured(profile, "credentials.audience", fault)
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
        """See ``Provider.issue``: the token in the file, read afresh.

        Raises ``SecretNotFound`` for a file that is not there or holds no whole token, ``InsufficientLifetime`` for a token
        that is over, or begins later, by this machine's clock, ``ConfigurationError`` for one that has no end or is for
        another audience.
        """
        self.plan(request, context.profile)
        token = subject(request, context, only_jwt=True).value
        claims = unverified_claims(token.get_secret_value())
        end = _end(claims or {}, request, context)
        if isinstance(end, CredbrokerError):
            raise end
        return AccessToken(token, expires_at=end)


def _end(claims: Mapping[str, object], request: CredentialRequest, context: Context) -> datetime | CredbrokerError:
    """The token's own end by this machine's clock, or why it is not handed out."""
    profile, now = context.profile, context.clock.now()
    end = instant(claims, "exp")
    if end is None:
        # A token in a Secret, as clusters made them before 1.24: whoever has seen it once has it for ever.
        return _wrong(profile, "holds a token without an end: have a serviceAccountToken volume project one")
    wanted = request.audience or settings(profile).audience
    if wanted is not None and wanted not in audiences(claims):
        fault = f"holds a token that is not for the audience {wanted!r} (a pod's default one is for the API server alone)"
        return _wrong(profile, f"{fault}: set 'audience' of the pod's serviceAccountToken volume to it")
    issued = instant(claims, "iat")
    begins = max((one for one in (issued, instant(claims, "nbf")) if one is not None), default=now)
    if begins - now > _MOST_SKEW:
        # By that clock it would be handed out long after its end.
        return InsufficientLifetime(
            f"the token in {settings(profile).subject_token.file!r} begins in {ago(begins - now)} by this machine's clock, "  # type: ignore[union-attr]
            "which must be behind the cluster's: correct it"
        )
    # It has no more left than its whole life, whatever this machine's clock says.
    return end if issued is None else min(end, now + (end - issued))


def _wrong(profile: Profile, fault: str) -> ConfigurationError:
    return misconfigured(profile, _FIELD, fault)
