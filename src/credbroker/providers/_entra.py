"""Who a profile is towards Microsoft Entra: what each ``credential_source`` takes, and the token that it brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from credbroker.context import ClientCertificate, Context
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, CredbrokerError, CredentialUnavailable, SecretNotFound
from credbroker.identity import azure as entra
from credbroker.identity.azure_managed import managed_identity_token
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers.requirements import misconfigured, settings, takes
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference

if TYPE_CHECKING:
    from pydantic import SecretStr

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "web_identity": ("tenant_id", "client_id"),
    "client_secret": ("tenant_id", "client_id", "client_secret"),
    "certificate": ("tenant_id", "client_id", "certificate", "certificate_key"),
    "managed_identity": (),
}
_FURTHER: Mapping[str, tuple[str, ...]] = {
    "web_identity": ("subject_token",),
    "client_secret": (),
    "certificate": ("signing_alg",),
    "managed_identity": ("client_id",),
}
_ALGORITHMS = (None, "PS256", "RS256")
_FILE_VARIABLE = "AZURE_FEDERATED_TOKEN_FILE"
# Microsoft's page on certificates: 5 to 10 minutes at most.
_ASSERTION_LIFE = timedelta(minutes=5)


def check_identity(profile: Profile, *also: str) -> None:
    """Raise ``ConfigurationError`` that names the field which the profile's ``credential_source`` lacks, or cannot use.

    ``also`` are the fields that what is asked for takes beside those of the identity.
    """
    block = settings(profile)
    source = block.credential_source
    known = ", ".join(_NEEDED)
    if source is None:
        raise misconfigured(profile, "credentials.credential_source", f"is missing: name the identity, one of {known}")
    if source not in _NEEDED:
        raise misconfigured(
            profile, "credentials.credential_source", f"is {source!r}, which Azure has not: use one of {known}"
        )
    for name in _NEEDED[source]:
        if not getattr(block, name):
            raise misconfigured(profile, f"credentials.{name}", f"is missing: credential_source {source!r} needs it")
    taken = ("platform", "credential_source", *_NEEDED[source], *_FURTHER[source], *also)
    takes(profile, *taken, by=f"with credential_source {source!r} here")
    _check_values(profile, block)


def entra_token(scope: str, authority: str, request: CredentialRequest, context: Context) -> AccessToken:
    """The access token of the profile's identity for ``scope`` (``<resource>/.default``). One request.

    One more is sent only after ``invalid_client``, with another proof where there is one: the secret or certificate that
    stands in its place by now or is ``next``, another profile's token that is not the refused one.

    Raises ``CredentialUnavailable`` where the identity is absent, ``SecretNotFound``, ``InsufficientLifetime``,
    ``IssueDenied``, ``IssuerUnavailable``, ``MalformedResponse``, ``ConfigurationError``.
    """
    block = settings(context.profile)
    asked = context.clock.now()
    client_id = _client_id(block, context)
    source, tenant_id = block.credential_source, block.tenant_id or ""
    if source == "managed_identity":
        value, life = managed_identity_token(context, scope=scope, client_id=client_id or None)
    elif source == "client_secret":
        value, life = entra.client_secret_token(
            _secrets(block, context), context, scope=scope, tenant_id=tenant_id, client_id=client_id, authority=authority
        )
    elif source == "certificate":
        assertions = _signed(client_id, entra.token_endpoint(authority, tenant_id), context)
        value, life = entra.certificate_token(
            assertions, context, scope=scope, tenant_id=tenant_id, client_id=client_id, authority=authority
        )
    else:
        value, life = entra.federated_identity_token(
            _federated(request, context),
            context,
            scope=scope,
            tenant_id=tenant_id,
            client_id=client_id,
            authority=authority,
        )
    return AccessToken(value, expires_at=asked + timedelta(seconds=life))


def _check_values(profile: Profile, block: CredentialSettings) -> None:
    if block.tenant_id is not None:
        try:
            entra.token_endpoint(entra.PUBLIC, block.tenant_id)
        except ConfigurationError:
            raise misconfigured(
                profile, "credentials.tenant_id", "must be a directory's id, or one of its domains"
            ) from None
    if block.signing_alg not in _ALGORITHMS:
        raise misconfigured(profile, "credentials.signing_alg", "must be PS256 or RS256: Entra takes no other")
    if block.subject_token is not None:
        from credbroker.providers._subject_token import check_subject

        check_subject(profile)


def _client_id(block: CredentialSettings, context: Context) -> str:
    stated = block.client_id
    return context.secrets.resolve(stated).get_secret_value() if isinstance(stated, SecretReference) else stated or ""


# The proofs of each source are read one by one: a second one only where the first was refused.


def _secrets(block: CredentialSettings, context: Context) -> Iterator[SecretStr]:
    reference = block.client_secret
    if reference is None:  # plan() has seen to it
        raise misconfigured(context.profile, "credentials.client_secret", "is missing")
    first = context.secrets.resolve(reference)
    yield first
    for candidate in (reference, reference.successor):
        if candidate is None:
            continue
        try:
            other = context.secrets.resolve(candidate)
        except SecretNotFound:
            continue
        if other != first:
            yield other


def _signed(client_id: str, audience: str, context: Context) -> Iterator[SecretStr]:
    from credbroker.providers._client_certificate import certificate, other_certificate

    first = certificate(context)
    yield _assertion(first, client_id, audience, context)
    other = other_certificate(first, context)
    if other is not None:
        yield _assertion(other, client_id, audience, context)


def _assertion(pair: ClientCertificate, client_id: str, audience: str, context: Context) -> SecretStr:
    from credbroker.providers._assertion import by_certificate, claims

    now = context.clock.now()
    said = claims(client_id, audience, now)
    said |= {"nbf": said["iat"], "exp": int((now + _ASSERTION_LIFE).timestamp())}
    signed = by_certificate(pair, settings(context.profile).signing_alg, said)
    if isinstance(signed, str):
        raise misconfigured(context.profile, "credentials.certificate_key", signed)
    return signed


def _federated(request: CredentialRequest, context: Context) -> Iterator[SecretStr]:
    stated = settings(context.profile).subject_token
    if stated is None or stated.file is not None:
        yield _of_file(None if stated is None else stated.file, context)
        return
    from credbroker.providers._subject_token import renewed, subject

    first = subject(request, context)
    yield first.value
    other = renewed(first, request, context, key="subject_token")
    if other is not None:
        yield other.value


def _of_file(path: str | None, context: Context) -> SecretStr:
    named = path or context.environment.variable(_FILE_VARIABLE)
    if not named:
        raise CredentialUnavailable(
            f"credential_source: web_identity finds no {_FILE_VARIABLE}: label the pod azure.workload.identity/use, or name "
            "the file by credentials.subject_token.file",
            profile=context.profile.name,
        )
    token = entra.federated_token(named, context)
    if isinstance(token, CredbrokerError):
        _raise(token, "credentials.subject_token.file" if path else f"${_FILE_VARIABLE}")
    return token


def _raise(error: CredbrokerError, place: str) -> NoReturn:
    raise error.saying(f"{error.message} ({place})")
