"""``service_account`` on Google Cloud: a token of the named identity; for Cloud Storage, narrowed by an access boundary.

The identity's own token is issued once for the profile and held by the broker; each prefix costs one exchange of it. What
has no boundary (a catalog, compute) gets a token for its scopes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from credbroker.context import Context
from credbroker.credentials import AccessToken, Credential, GCSCredentials
from credbroker.errors import ConfigurationError
from credbroker.identity import gcp_impersonation, gcp_metadata, gcp_sts, gcp_subject
from credbroker.identity.aws import base_keys
from credbroker.identity.gcp import CLOUD_PLATFORM, service_account_token
from credbroker.limits import asked_scopes
from credbroker.profile import Profile, StorageProfile, SubjectToken
from credbroker.providers import Grant
from credbroker.providers._gcp_settings import check
from credbroker.providers._subject_token import Subject, renewed, subject
from credbroker.providers.requirements import misconfigured, no_audience, settings
from credbroker.request import Access, CredentialRequest
from credbroker.vending import gcs
from credbroker.wire.token import JWT_TYPE

if TYPE_CHECKING:
    from pydantic import SecretStr

SOURCE = "token"
"""What the base credential is called of which narrower ones are made."""


class GcpServiceAccount:
    """Issues ``GCSCredentials`` for ``gs://``, and an ``AccessToken`` for everything else on Google Cloud."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """The access boundary for exactly the asked locations; nothing for a token, which has none."""
        check(profile)
        no_audience(request, "Google Cloud, whose scope names the API")
        if request.base is not None or not isinstance(profile, StorageProfile):
            return Grant()
        access = request.access or Access.READ
        return Grant(gcs.access_boundary(request.locations, access), request.locations, access)

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken | GCSCredentials:
        """See ``Provider.issue``.

        A source token that Google does not accept any more is dropped, and the next one exchanged once. Raises
        ``CredentialUnavailable`` where the named identity is absent here, ``IssueDenied``, ``IssuerUnavailable``,
        ``MalformedResponse``, ``InsufficientLifetime``, ``SecretNotFound``; never is another identity tried.
        """
        grant = self.plan(request, context.profile)
        if request.base is not None or grant.policy is None:
            return _token(request, context)
        source, ends = _source(context)
        response = gcp_sts.ask_narrower(source.value, grant.policy, context)
        if gcp_sts.refuses_subject(response) and context.drop(SOURCE, source):
            source, ends = _source(context)
            response = gcp_sts.ask_narrower(source.value, grant.policy, context)
        token, life = gcp_sts.narrowed(response, source_life=ends - response.sent)
        ends = min(response.sent + timedelta(seconds=life), ends)
        return GCSCredentials(token, expires_at=ends, locations=grant.locations, access=grant.access)


def _source(context: Context) -> tuple[AccessToken, datetime]:
    """The identity's own token, and when it ends, and with it all that is made of it."""
    held: Credential = context.base(SOURCE)
    if not isinstance(held, AccessToken) or held.expires_at is None:
        raise ConfigurationError(f"the base credential {SOURCE!r} is no token with an end", profile=context.profile.name)
    return held, held.expires_at


def _token(request: CredentialRequest, context: Context) -> AccessToken:
    """A token of the identity that the settings name, for the asked scopes."""
    profile = context.profile
    block = settings(profile)
    # Google knows no order among scopes; a list that is always the same is one that a cache and a test can compare.
    scope = " ".join(sorted(asked_scopes(request, profile))) or CLOUD_PLATFORM
    asked = context.clock.now()
    if block.service_account is None:
        value, life = _base_token(request, context, scope)
        return AccessToken(value, expires_at=asked + timedelta(seconds=life))
    # To impersonate takes an API, and with it a scope, of its own: which one is asked for is the account's matter.
    value, _ = _base_token(request, context, CLOUD_PLATFORM)
    wanted = gcp_impersonation.Impersonation(block.service_account, block.delegates, scope, profile.max_ttl)
    asked = context.clock.now()
    value, life = gcp_impersonation.impersonated(value, wanted, context)
    return AccessToken(value, expires_at=asked + timedelta(seconds=life))


def _base_token(request: CredentialRequest, context: Context, scope: str) -> tuple[SecretStr, float]:
    block = settings(context.profile)
    if block.credential_source == "metadata":
        return gcp_metadata.metadata_token(context, scope=scope)
    if block.credential_source == "web_identity":
        return _federated(request, context, scope)
    if block.key is None:  # check() has seen to it
        raise misconfigured(context.profile, "credentials.key", "is missing")
    return service_account_token(context.secrets.resolve(block.key), context, scope=scope)


def _federated(request: CredentialRequest, context: Context, scope: str) -> tuple[SecretStr, float]:
    """Another party's token, exchanged; where it was refused and another stands in its place by now, that one, once."""
    block = settings(context.profile)
    audience, stated = block.audience or "", block.subject_token or SubjectToken()
    shown = _shown(request, context, stated, audience)
    response = gcp_sts.ask(shown.value, shown.type, context, audience=audience, scope=scope)
    if shown.held is not None and gcp_sts.refuses_subject(response):
        other = renewed(shown, request, context, key="subject_token")
        if other is not None:
            response = gcp_sts.ask(other.value, shown.type, context, audience=audience, scope=scope)
    return gcp_sts.federated(response)


def _shown(request: CredentialRequest, context: Context, stated: SubjectToken, audience: str) -> Subject:
    """What the pool is shown, afresh."""
    kind = settings(context.profile).subject_token_type or JWT_TYPE
    if stated.aws is not None:
        return Subject(_signed(stated.aws, audience, context), gcp_sts.AWS_TYPE)
    if stated.url is not None:
        return Subject(gcp_subject.of_url(stated, context), kind)
    found = subject(request, context, only_jwt=kind != gcp_sts.SAML2_TYPE)
    return Subject(found.value, kind, found.held, found.request)


def _signed(source: str, audience: str, context: Context) -> SecretStr:
    try:
        from credbroker.identity.gcp_aws import caller_identity  # botocore is loaded for this alone
    except ImportError:
        raise misconfigured(
            context.profile, "credentials.subject_token.aws", "needs botocore: pip install 'credbroker-data[aws]'"
        ) from None
    return caller_identity(base_keys(source, context), audience)
