"""What the settings of a service account of Google Cloud must say, and what beside it would name a second identity."""

from __future__ import annotations

from credbroker.identity.aws import source_fault
from credbroker.identity.gcp_impersonation import ACCOUNT
from credbroker.identity.gcp_sts import PROVIDER, PROVIDER_FORM, SUBJECT_TYPES
from credbroker.identity.gcp_subject import headers_fault, subject_url_fault
from credbroker.profile import CredentialSettings, Profile, SubjectToken
from credbroker.providers.requirements import misconfigured, need, settings, takes

_SOURCES = ("key", "web_identity", "metadata")
_OF_SOURCE = {"key": ("key",), "web_identity": ("audience", "subject_token"), "metadata": ()}
_FURTHER = {"key": (), "web_identity": ("subject_token_type",), "metadata": ()}
_ANY = ("platform", "credential_source", "service_account", "delegates", "scope", "scopes")
_TOKEN = "credentials.subject_token"  # noqa: S105 - a field's name


def check(profile: Profile) -> None:
    """Raise ``ConfigurationError``, by the field, unless the settings name one base identity, and all that it needs."""
    block = settings(profile)
    source = block.credential_source
    if source is None:
        raise misconfigured(profile, "credentials.credential_source", f"is missing: use {_listed(_SOURCES)}")
    if source not in _SOURCES:
        raise misconfigured(
            profile, "credentials.credential_source", f"is {source!r}, which Google Cloud has not: use {_listed(_SOURCES)}"
        )
    need(profile, *_OF_SOURCE[source])
    takes(profile, *_ANY, *_OF_SOURCE[source], *_FURTHER[source], by=f"with credential_source {source!r} here")
    if source == "web_identity":
        _check_federation(profile, block, block.subject_token or SubjectToken())
    _check_impersonation(profile, block)


def _check_federation(profile: Profile, block: CredentialSettings, stated: SubjectToken) -> None:
    if not PROVIDER.fullmatch(block.audience or ""):
        raise misconfigured(profile, "credentials.audience", f"is no provider of a workload identity pool: {PROVIDER_FORM}")
    places = {name: getattr(stated, name) for name in ("file", "secret", "profile", "url", "aws")}
    if sum(bool(place) for place in places.values()) != 1:
        raise misconfigured(profile, _TOKEN, "must name exactly one of file, secret_ref, profile, url and aws")
    if stated.profile == (profile.kind, profile.name):
        raise misconfigured(profile, f"{_TOKEN}.profile", "is the profile itself: name the one whose token is shown")
    if stated.url is None and (stated.headers or stated.field):
        raise misconfigured(profile, f"{_TOKEN}.{'headers' if stated.headers else 'field'}", "goes with url only")
    fault = subject_url_fault(stated.url) if stated.url is not None else None
    if fault is not None:
        raise misconfigured(profile, f"{_TOKEN}.url", fault)
    fault = headers_fault(stated.headers)
    if fault is not None:
        raise misconfigured(profile, f"{_TOKEN}.headers", fault)
    fault = source_fault(stated.aws) if stated.aws is not None else None
    if fault is not None:
        raise misconfigured(profile, f"{_TOKEN}.aws", fault)
    kind = block.subject_token_type
    if kind is not None and stated.aws is not None:
        raise misconfigured(profile, "credentials.subject_token_type", "does not go with subject_token.aws: leave it out")
    if kind is not None and kind not in SUBJECT_TYPES:
        raise misconfigured(
            profile, "credentials.subject_token_type", f"is none that a pool takes: use {_listed(SUBJECT_TYPES)}"
        )


def _check_impersonation(profile: Profile, block: CredentialSettings) -> None:
    if block.delegates and block.service_account is None:
        raise misconfigured(profile, "credentials.delegates", "is of use only on the way to a service_account: name that")
    for field, account in (
        ("service_account", block.service_account),
        *(("delegates", delegate) for delegate in block.delegates),
    ):
        if account is not None and not ACCOUNT.fullmatch(account):
            raise misconfigured(
                profile, f"credentials.{field}", "must be a service account's e-mail address (or its unique id)"
            )


def _listed(names: tuple[str, ...]) -> str:
    quoted = [repr(name) for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
