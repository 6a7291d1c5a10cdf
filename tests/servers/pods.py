"""What platform.yaml says in a pod: its projected token as the proof of an OAuth2 client, and as a catalog's bearer."""

from __future__ import annotations

from typing import Any

from tests.servers.cluster import ProjectedVolume
from tests.servers.federation import BearerCatalog, FederatedIssuer


def federated(issuer: FederatedIssuer, volume: ProjectedVolume, **more: Any) -> dict[str, Any]:
    block = {
        "mode": "oauth2",
        "token_url": issuer.token_url,
        "token_endpoint_auth_method": "private_key_jwt",
        "client_assertion": {"file": str(volume.file)},
        "scope": "lake",
    } | more
    return {"environment": "development", "catalogs": {"c": {"uri": issuer.uri, "credentials": block}}}


def bearing(catalog: BearerCatalog, volume: ProjectedVolume, **more: Any) -> dict[str, Any]:
    block = {
        "mode": "service_account",
        "platform": "kubernetes",
        "subject_token": {"file": str(volume.file)},
        "audience": "lakekeeper",
    } | more
    return {"environment": "development", "catalogs": {"lake": {"uri": catalog.uri, "credentials": block}}}
