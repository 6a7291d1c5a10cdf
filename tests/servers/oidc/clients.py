"""The clients of the OAuth2 server: who they are, what they hold, and what platform.yaml says of them."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import ECKey, RSAKey

from tests.servers.oidc.identities import Identity, identity

CLIENT_CREDENTIALS = "client_credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = ("PRINCIPAL_ROLE:ANALYST", "PRINCIPAL_ROLE:ENGINEER", "PRINCIPAL_ROLE:OWNER")
# Of what RFC 6749 section 2.3.1 has to encode.
AWKWARD_ID = "team+a %:&/= b"
AWKWARD_SECRET = "s3cr+t %41:&/=?# \\\"' ~ " + "x" * 20
KEY_ID = "pipeline-1"


@dataclass(kw_only=True)
class Client:
    """One client. ``secrets`` is what its settings refer to: name to value, for a directory of mounted secrets."""

    name: str
    client_id: str
    method: str
    token_url: str = ""
    secret: str | None = None
    """The one that the server takes now."""
    private_key: str | None = None
    signing_alg: str | None = None
    identity: Identity | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the server knows beyond that (RFC 7591)."""

    @property
    def reference(self) -> str:
        """The ``secret_ref`` of its secret, or of its key."""
        return f"oidc-{self.name}"

    @property
    def secrets(self) -> dict[str, str]:
        held = self.secret or self.private_key or (self.identity.key if self.identity else None)
        return {} if held is None else {self.reference: held}

    def credentials(self, **further: Any) -> dict[str, Any]:
        """Its ``credentials:`` block of platform.yaml; a keyword that is None takes a key away."""
        block: dict[str, Any] = {
            "mode": "oauth2",
            "token_url": self.token_url,
            "client_id": self.client_id,
            "token_endpoint_auth_method": self.method,
            "scope": SCOPES[0],
        }
        reference = {"secret_ref": self.reference}
        if self.secret is not None:
            block["client_secret"] = reference
        if self.private_key is not None:
            block |= {"private_key": reference, "key_id": KEY_ID, "signing_alg": self.signing_alg}
        if self.identity is not None:
            block |= {"certificate": self.identity.chain_file, "certificate_key": reference}
        return {key: value for key, value in (block | further).items() if value is not None}

    def another(self) -> str:
        """A new secret, or a new key, for it."""
        return new_key(self.signing_alg or "") if self.private_key is not None else new_secret()

    def hold(self, new: str) -> None:
        """Have that secret, or that key, from now on."""
        if self.private_key is None:
            self.secret = new
        else:
            self.private_key = new

    def registration(self) -> dict[str, Any]:
        """What the server is told of it."""
        # Assertions are made by one algorithm alone: another one must be refused.
        algorithm = {"token_endpoint_auth_signing_alg": self.signing_alg} if self.signing_alg else {}
        secret = {"client_secret": self.secret} if self.secret is not None else {}
        key = {"jwks": {"keys": [self._public_key()]}} if self.private_key is not None else {}
        return {
            "client_id": self.client_id,
            "token_endpoint_auth_method": self.method,
            "grant_types": [CLIENT_CREDENTIALS, EXCHANGE, JWT_BEARER],
            "redirect_uris": [],
            "response_types": [],
            "scope": " ".join(SCOPES),
            **algorithm,
            **secret,
            **key,
            **self.metadata,
        }

    def _public_key(self) -> dict[str, Any]:
        kind = RSAKey if self.signing_alg == "RS256" else ECKey
        key = kind.import_key(self.private_key or "")
        return {**key.as_dict(private=False), "kid": KEY_ID, "alg": self.signing_alg, "use": "sig"}


def new_secret() -> str:
    """Long enough for HMAC-SHA-256 (RFC 7518 section 3.2)."""
    return secrets.token_urlsafe(40)


def new_key(algorithm: str) -> str:
    """A private key for ``RS256`` or ``ES256``, in PEM."""
    key = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def registered(folder: Path) -> list[Client]:
    """A client for each way to authenticate. Certificates go into ``folder``, whose authority vouches for one of them."""
    vouched, own = identity(folder, "pipeline", vouched=True), identity(folder, "lone-pipeline", vouched=False)
    own_key = {**ECKey.import_key(own.key).as_dict(private=False), "use": "sig", "x5c": [_der(own.chain)]}
    return [
        Client(name="basic", client_id="basic", method="client_secret_basic", secret=new_secret()),
        Client(name="awkward", client_id=AWKWARD_ID, method="client_secret_basic", secret=AWKWARD_SECRET),
        Client(name="post", client_id="post", method="client_secret_post", secret=new_secret()),
        Client(
            name="secret-jwt", client_id="secret-jwt", method="client_secret_jwt", secret=new_secret(), signing_alg="HS256"
        ),
        *(
            Client(
                name=algorithm.lower(),
                client_id=algorithm.lower(),
                method="private_key_jwt",
                private_key=new_key(algorithm),
                signing_alg=algorithm,
            )
            for algorithm in ("RS256", "ES256")
        ),
        Client(
            name="tls",
            client_id="tls",
            method="tls_client_auth",
            identity=vouched,
            metadata={"tls_client_auth_subject_dn": "CN=pipeline", "tls_client_certificate_bound_access_tokens": True},
        ),
        Client(
            name="self-signed-tls",
            client_id="self-signed-tls",
            method="self_signed_tls_client_auth",
            identity=own,
            metadata={"jwks": {"keys": [own_key]}, "tls_client_certificate_bound_access_tokens": True},
        ),
        # Whoever has no secret may show what others were given, and nothing else.
        Client(name="public", client_id="public", method="none", metadata={"grant_types": [EXCHANGE, JWT_BEARER]}),
        # Its assertions are made by a cluster, whose keys are found where ``OidcProvider.trust`` says.
        Client(
            name="workload",
            client_id="workload",
            method="private_key_jwt",
            metadata={"token_endpoint_auth_signing_alg": "RS256", "jwks_uri": "http://127.0.0.1/jwks"},
        ),
        # Its tokens allow more than it asked for, as where a server has default scopes.
        Client(
            name="generous",
            client_id="generous",
            method="client_secret_basic",
            secret=new_secret(),
            metadata={"adds_scope": "PRINCIPAL_ROLE:OWNER"},
        ),
    ]


def _der(chain: str) -> str:
    """RFC 7517 section 4.7: standard base64 of the DER form, without line ends."""
    lines = chain.strip().splitlines()
    return base64.b64encode(base64.b64decode("".join(lines[1:-1]))).decode()
