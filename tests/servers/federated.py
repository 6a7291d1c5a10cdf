"""Two stores that take the tokens of an OpenID Connect issuer, and roles that form a chain, in each as it wants them."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from credbroker.cli.demo.seaweed import REGION, SeaweedFS
from credbroker.providers.iam_role import session_name
from tests.servers.ceph import Ceph
from tests.servers.oidc.provider import OidcProvider

AUDIENCE = "https://warehouse.example/"
"""Whom the tokens must be for."""
_ACCOUNT = "123456789012"
_SESSION = session_name(None, None)
_EVERYTHING = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}
_CHAINING = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": ["*"]}


class FederatedSeaweedFS(SeaweedFS):
    """SeaweedFS with ``federated_arn`` and ``hub_arn`` for the issuer's tokens, and ``next_arn`` for hub's sessions."""

    federated_arn = f"arn:aws:iam::{_ACCOUNT}:role/Federated"
    hub_arn = f"arn:aws:iam::{_ACCOUNT}:role/Hub"
    next_arn = f"arn:aws:iam::{_ACCOUNT}:role/Next"

    def __init__(self, issuer: OidcProvider) -> None:
        super().__init__()
        self._issuer = issuer

    def _roles(self) -> dict[str, object]:
        roles: dict[str, Any] = super()._roles()
        config = {"issuer": self._issuer.issuer, "clientIds": [AUDIENCE], "jwksUri": f"{self._issuer.issuer}/jwks"}
        roles["providers"] = [{"name": "issuer", "type": "oidc", "enabled": True, "config": config}]
        federated = _statement({"Federated": "issuer"}, "sts:AssumeRoleWithWebIdentity")
        # It compares the whole ARN of a session, which has the server's account where keys assumed it, else none.
        hub = [f"arn:aws:sts::{account}assumed-role/Hub/{_SESSION}" for account in ("000000000000:", "")]
        sessions = _statement({"AWS": hub}, "sts:AssumeRole")
        roles["roles"] += [
            _role(self.federated_arn, "AllS3", federated),
            _role(self.hub_arn, "Chaining", federated),
            _role(self.next_arn, "AllS3", sessions),
        ]
        roles["policies"].append({"name": "Chaining", "document": _document(_CHAINING)})
        return roles


class FederatedCeph(Ceph):
    """Ceph with the same three roles."""

    federated_arn = "arn:aws:iam:::role/Federated"
    hub_arn = "arn:aws:iam:::role/Hub"
    next_arn = "arn:aws:iam:::role/Next"

    def __init__(self, issuer: OidcProvider) -> None:
        super().__init__()
        self._issuer = issuer

    def _start(self) -> None:
        super()._start()
        self._admin("caps", "add", "--uid", "broker", "--caps", "oidc-provider=*;roles=*")
        iam = boto3.client(
            "iam",
            endpoint_url=self.s3_endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        with closing(iam):
            # Ceph 16 verifies tokens by the certificate in the issuer's JWKS (x5c), and knows it by this SHA-1.
            iam.create_open_id_connect_provider(
                Url=self._issuer.issuer, ClientIDList=[AUDIENCE], ThumbprintList=[self._issuer.thumbprint]
            )
        host = urlsplit(self._issuer.issuer).netloc
        federated = _statement(
            {"Federated": [f"arn:aws:iam:::oidc-provider/{host}"]},
            "sts:AssumeRoleWithWebIdentity",
            Condition={"StringEquals": {f"{host}:app_id": AUDIENCE}},
        )
        for arn, trust in (
            (self.federated_arn, federated),
            (self.hub_arn, federated),
            (self.next_arn, _statement({"AWS": [self.hub_arn]}, "sts:AssumeRole")),
        ):
            name = arn.rpartition("/")[2]
            self._admin("role", "create", "--role-name", name, "--assume-role-policy-doc", json.dumps(_document(trust)))
            rights = json.dumps(_document({**_EVERYTHING, "Action": ["s3:*"] if arn != self.hub_arn else ["sts:*"]}))
            self._admin("role-policy", "put", "--role-name", name, "--policy-name", "Rights", "--policy-doc", rights)


def _role(arn: str, policy: str, trust: dict[str, Any]) -> dict[str, Any]:
    return {
        "roleName": arn.rpartition("/")[2],
        "roleArn": arn,
        "attachedPolicies": [policy],
        "trustPolicy": _document(trust),
    }


def _statement(principal: dict[str, Any], action: str, **condition: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": [action], **condition}


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}
