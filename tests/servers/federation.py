"""Who takes a cluster's tokens: an issuer whose clients prove themselves by them, and a catalog that takes them as bearers.

Neither server can be had from a package index. The issuer does what Keycloak's documentation says of its Kubernetes identity
provider (server administration guide, "Kubernetes identity providers"; "Signed JWT - Federated"): RFC 7523 section 2.2 with
an assertion whose ``iss`` is the cluster and whose ``sub`` is the service account, and no ``client_id`` needed. The catalog
does what Lakekeeper's says of Kubernetes (docs.lakekeeper.io, "Authentication"): a bearer of the cluster, by its keys, for
its audience.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from joserfc import jwt

from tests.servers.cluster import SUBJECT, signing_key, verified
from tests.servers.strict import Answer, Asked, StrictServer, exactly

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

CLIENT = "pipelines"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_AN_HOUR = 3600  # the longest life of an assertion that Keycloak takes, in seconds


class FederatedIssuer(StrictServer):
    """A context manager: a token endpoint at ``token_url`` that trusts one cluster for one client."""

    def __init__(self, cluster: str, *, key: RSAKey | None = None, subject: str = SUBJECT, lifetime: int = 3600) -> None:
        super().__init__()
        self._cluster = cluster
        self._key = key
        self._subject = subject
        self.lifetime = lifetime
        self.shown: list[str] = []
        """Each assertion that came, in order."""

    @property
    def token_url(self) -> str:
        return f"{self.uri}/token"

    def answer(self, asked: Asked) -> Answer:
        assert (asked.method, asked.url.path, asked.url.query) == ("POST", "/token", ""), "the token endpoint is asked"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert "authorization" not in asked.headers, "RFC 6749 section 2.3: one method of authentication a request"
        form = asked.form
        if "client_id" in form:
            assert form.pop("client_id") == CLIENT, "RFC 7521 section 4.2: client_id must be the assertion's client"
        exactly(
            form, grant_type="client_credentials", client_assertion_type=_ASSERTION_TYPE, client_assertion=None, scope="lake"
        )
        self.shown.append(form["client_assertion"])
        claims = verified(form["client_assertion"], issuer=self._cluster, audience=self.uri, key=self._key)
        if claims is None or claims["sub"] != self._subject or claims["exp"] - claims["iat"] > _AN_HOUR + 1:
            return Answer(401, {"error": "invalid_client", "error_description": form["client_assertion"]})
        token = f"token-{len(self.shown)}"
        return Answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime, "scope": "lake"})


class BearerCatalog(StrictServer):
    """A context manager: an Iceberg REST catalog of one namespace, ``sales``, for whom the cluster vouches."""

    def __init__(self, cluster: str, audience: str) -> None:
        super().__init__()
        self._cluster = cluster
        self._audience = audience
        self.bearers: list[str] = []
        """Each token that was taken, in order."""
        self.refused = 0

    def answer(self, asked: Asked) -> Answer:
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or verified(token, issuer=self._cluster, audience=self._audience) is None:
            self.refused += 1
            error = {"message": "not authorized", "type": "NotAuthorizedException", "code": 401}
            return Answer(401, {"error": error}, {"WWW-Authenticate": "Bearer"})
        self.bearers.append(token)
        if asked.url.path == "/v1/config":
            return Answer(200, {"defaults": {}, "overrides": {}})
        assert str(asked) == "GET /v1/namespaces", f"{asked} is asked"
        return Answer(200, {"namespaces": [["sales"]]})


def jti_of(token: str) -> str:
    """Which token it is."""
    return str(jwt.decode(token, signing_key(), algorithms=["RS256"]).claims["jti"])
