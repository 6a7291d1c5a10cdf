"""The ``credentials:`` block of a profile, as it is written."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from credbroker.config.values import (
    Interval,
    Lifetime,
    NamedReference,
    Property,
    PropertyOrReference,
    Reference,
    Text,
    TextOrReference,
    Timeout,
    Truth,
)
from credbroker.request import Access

MODES = ("static", "oauth2", "iam_role", "service_account")
RESERVED_MODES = (*MODES, "catalog")
"""``catalog`` issues for the tables of any catalog, and is never named."""
CredentialSource = Literal[
    "web_identity",
    "pod_identity",
    "container",
    "imds",
    "environment",
    "default_chain",
    "key",
    "metadata",
    "managed_identity",
    "client_secret",
    "certificate",
]


class SubjectTokenConfig(BaseModel):
    """Where a token that is exchanged (RFC 8693), or shown as an assertion (RFC 7523), comes from: one of them."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    file: Text | None = None
    secret_ref: NamedReference | None = None
    profile: Text | None = None
    url: Text | None = None
    headers: dict[str, PropertyOrReference] | None = None
    field: Text | None = None
    aws: Text | None = None


class CredentialsConfig(BaseModel):
    """How a profile's credentials are issued. Every key loads; what this version cannot use yet is refused at use by name.

    Unknown keys are faults, except in the mode of a plug-in, whose keys are its own.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    mode: Text = "static"
    timeout: Timeout | None = None
    default_ttl: Lifetime | None = None
    reread_interval: Interval | None = None

    secret_ref: NamedReference | None = None

    token_url: Text | None = None
    client_id: TextOrReference | None = None
    client_secret: Reference | None = None
    scope: Text | None = None
    scopes: dict[Access, Text] | None = None
    audience: Text | None = None
    token_endpoint_auth_method: (
        Literal[
            "client_secret_basic",
            "client_secret_post",
            "none",
            "client_secret_jwt",
            "private_key_jwt",
            "tls_client_auth",
            "self_signed_tls_client_auth",
        ]
        | None
    ) = None
    basic_encoding: Literal["rfc6749", "raw"] | None = None
    private_key: Reference | None = None
    key_id: Text | None = None
    signing_alg: Text | None = None
    certificate: TextOrReference | None = None
    certificate_key: Reference | None = None
    grant_type: Text | None = None
    subject_token: SubjectTokenConfig | None = None
    subject_token_type: Text | None = None
    resource: list[Text] | None = None
    parameters: dict[str, Property] | None = None
    issuer: Text | None = None
    revocation_url: Text | None = None
    realm: Text | None = None

    role_arn: Text | None = None
    external_id: Text | None = None
    credential_source: CredentialSource | None = None
    source_profile: Text | None = None
    sts_endpoint: Text | None = None
    source_identity: Text | None = None
    session_tags: dict[str, Property] | None = None
    transitive_tag_keys: list[Text] | None = None
    session_run: Truth = False

    platform: Literal["gcp", "azure", "kubernetes"] | None = None
    key: Reference | None = None
    service_account: Text | None = None
    delegates: list[Text] | None = None
    tenant_id: Text | None = None
    client_assertion: SubjectTokenConfig | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the known keys."""
        return dict(self.model_extra or {})
