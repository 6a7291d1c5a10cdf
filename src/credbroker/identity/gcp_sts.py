"""Google's Security Token Service: a token of somebody else's for one of Google's, and an access token for a narrower one.

Both are one documented POST (https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token). google-auth is not
used: ``downscoped.Credentials.refresh`` refreshes the source token too, every time, and ``identity_pool`` holds what it got.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import IssueDenied
from credbroker.identity._token_endpoint import form, granted
from credbroker.wire.token import ACCESS_TOKEN_TYPE, JWT_TYPE, parse_error

if TYPE_CHECKING:
    from pydantic import SecretStr

TOKEN_URL = "https://sts.googleapis.com/v1/token"  # noqa: S105 - an address
AWS_TYPE = "urn:ietf:params:aws:token-type:aws4_request"
"""What a signed request for GetCallerIdentity is called there."""
SAML2_TYPE = "urn:ietf:params:oauth:token-type:saml2"
SUBJECT_TYPES = (JWT_TYPE, "urn:ietf:params:oauth:token-type:id_token", SAML2_TYPE)
"""The other kinds of token that a workload identity pool takes."""
PROVIDER = re.compile(
    r"//iam\.googleapis\.com/projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
PROVIDER_FORM = "//iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>"
"""The full name of a pool's provider; the project is its number."""
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_UNMAPPED = "unauthorized_client"  # "The given credential is rejected by the attribute condition."


def ask(subject: SecretStr, kind: str, context: Context, *, audience: str, scope: str) -> HttpResponse:
    """Exchange ``subject`` for an access token of the workload identity pool's provider ``audience``. One request."""
    return context.send(_exchange(subject, kind, {"audience": audience, "scope": scope}))


def ask_narrower(source: SecretStr, boundary: Mapping[str, object], context: Context) -> HttpResponse:
    """Exchange an access token of Google's for one that respects ``boundary``. One request.

    https://cloud.google.com/iam/docs/downscoping-short-lived-credentials: ``options`` is the boundary as JSON. There it is
    encoded once, as every field of a form; google-auth encodes it twice.
    """
    options = json.dumps(boundary, separators=(",", ":"))
    return context.send(_exchange(source, ACCESS_TOKEN_TYPE, {"options": options}))


def _exchange(subject: SecretStr, kind: str, more: Mapping[str, str]) -> HttpRequest:
    # A function of its own: a frame that sends would keep the token in its variables when sending fails.
    fields = {
        "grant_type": _GRANT,
        "requested_token_type": ACCESS_TOKEN_TYPE,
        "subject_token": subject.get_secret_value(),
        "subject_token_type": kind,
        **more,
    }
    return form(TOKEN_URL, fields)


def refuses_subject(response: HttpResponse) -> bool:
    """Whether the token that was shown is not accepted: another one may be."""
    code = parse_error(response.body)
    return (response.status in (400, 401) and code == "invalid_grant") or (response.status == 401 and code is None)


def federated(response: HttpResponse, *, block: str = "credentials") -> tuple[SecretStr, float]:
    """The token that ``ask`` brought, and its life in seconds; ``block`` is where the settings stand that errors name.

    Raises ``IssueDenied`` (the grant was judged only where the provider's condition rejects the subject),
    ``IssuerUnavailable``, ``MalformedResponse``, ``InsufficientLifetime``.
    """
    if response.status in (400, 401, 403) and parse_error(response.body) == _UNMAPPED:
        raise IssueDenied(
            f"the token endpoint at sts.googleapis.com answered HTTP {response.status} {_UNMAPPED}: the attribute condition "
            f"of the provider in {block}.audience rejects this subject: look at both",
            grant_denied=True,
        )
    remedies = {
        "invalid_target": (
            f"look at {block}.audience: there is no such pool or provider in that project (by its number), or one of them "
            "is disabled or deleted"
        ),
        "invalid_grant": (
            f"the provider in {block}.audience does not accept the subject token: its issuer must be the provider's, its "
            "audience ('aud') one that the provider allows, and it must not be expired by Google's clock: look at what "
            "writes it"
        ),
        "invalid_request": f"look at {block}.audience and at what kind of token is shown (subject_token_type)",
        "invalid_scope": f"look at {block}.scope",
    }
    otherwise = f"look at {block}.audience, and at whether sts.googleapis.com is enabled in its project"
    return granted(response, TOKEN_URL, remedies, otherwise, exchanged=True)


def narrowed(response: HttpResponse, *, source_life: timedelta) -> tuple[SecretStr, float]:
    """The token that ``ask_narrower`` brought, and its life in seconds, which is the source's where the answer states none.

    Raises as ``federated`` does; no grant is judged here, but only when the token is used.
    """
    source = (
        "the base identity's own token is not accepted: look at whether its service account was disabled or deleted, and "
        "its key or session revoked"
    )
    remedies = {
        "invalid_grant": source,
        "invalid_request": "the access boundary was not understood: look at what stands between, and report this",
        "invalid_scope": "set credentials.scope to one that Cloud Storage knows, or leave it out",
    }
    otherwise = f"{source}; look at whether sts.googleapis.com is enabled in the account's project"
    return granted(response, TOKEN_URL, remedies, otherwise, default_ttl=source_life, exchanged=True)
