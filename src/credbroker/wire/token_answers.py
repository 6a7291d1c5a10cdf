"""A bearer token as the endpoints that clients already ask tell it, each in its own words.

``seconds`` is how much longer the token may be used, and ``now`` the instant from which that counts.
"""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import SecretStr

from credbroker.credentials import AccessToken, Credential, GCSCredentials
from credbroker.errors import ConfigurationError
from credbroker.wire.token import ACCESS_TOKEN_TYPE

_BEARER = "Bearer"


def token_response(value: Credential, seconds: int) -> bytes:
    """RFC 6749 section 5.1, with the ``scope`` where the issuer stated it (section 3.3).

    ``issued_token_type`` is RFC 8693's; Apache Iceberg's OAuthTokenResponse has it too.
    """
    token = _access_token(value, "oauth2-token")
    return _json(
        access_token=_revealed(token),
        token_type=_BEARER if _is_bearer(token) else token.token_type,
        expires_in=seconds,
        issued_token_type=ACCESS_TOKEN_TYPE,
        **({"scope": " ".join(sorted(token.scopes))} if token.scopes else {}),
    )


def metadata_token(value: Credential, seconds: int) -> bytes:
    """What a GCE metadata server tells at ``.../service-accounts/default/token``.

    Source: Google Cloud, "Authenticate workloads to Google Cloud APIs using service accounts".
    """
    token = value if isinstance(value, GCSCredentials) else _access_token(value, "gce-metadata", bearer=True)
    return _json(access_token=_revealed(token), expires_in=seconds, token_type=_BEARER)


def app_service_token(value: Credential, seconds: int, now: datetime, *, resource: str, client_id: str) -> bytes:
    """Microsoft, "How to use managed identities for App Service and Azure Functions", version 2019-08-01."""
    token = _access_token(value, "azure-app-service", bearer=True)
    return _json(
        access_token=_revealed(token),
        expires_on=str(int(now.timestamp()) + seconds),  # a text, as object_store takes nothing else
        resource=resource,
        token_type=_BEARER,
        client_id=client_id,
    )


def instance_token(value: Credential, seconds: int, now: datetime, *, resource: str, client_id: str) -> bytes:
    """Microsoft, "How to use managed identities on an Azure VM to acquire an access token": each number is a text."""
    token = _access_token(value, "azure-imds", bearer=True)
    since = int(now.timestamp())
    return _json(
        access_token=_revealed(token),
        client_id=client_id,
        expires_in=str(seconds),
        ext_expires_in=str(seconds),
        expires_on=str(since + seconds),
        not_before=str(since),
        resource=resource,
        token_type=_BEARER,
    )


def subject_token(value: Credential, seconds: int) -> bytes:
    """What a ``url`` source of an external_account file reads the token from: the fields of RFC 6749 section 5.1."""
    token = _access_token(value, "google-subject-token")
    return _json(access_token=_revealed(token), expires_in=seconds)


def client_and_secret(client: str, secret: SecretStr) -> SecretStr:
    """``client:secret``, as the property ``credential`` of Iceberg's REST clients has it."""
    return SecretStr(f"{client}:{secret.get_secret_value()}")


def _access_token(value: Credential, protocol: str, *, bearer: bool = False) -> AccessToken:
    if not isinstance(value, AccessToken):
        raise ConfigurationError(f"{protocol} serves tokens, not {type(value).__name__}: choose another protocol")
    if bearer and not _is_bearer(value):
        raise ConfigurationError(f"{protocol} serves bearer tokens, and the issuer gave one of another type")
    return value


def _is_bearer(token: AccessToken) -> bool:
    return token.token_type.lower() == "bearer"


def _revealed(token: AccessToken | GCSCredentials) -> str:
    return (token.access_token if isinstance(token, GCSCredentials) else token.value).get_secret_value()


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()
