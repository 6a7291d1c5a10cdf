"""The two places where a machine in Azure gets a managed identity's token. Neither can be run here: each request is checked.

- A virtual machine: https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
- App Service: https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tests.servers.strict import Answer, Asked, StrictServer, now

STORAGE = "https://storage.azure.com"
_IMDS, _APP_SERVICE = "/metadata/identity/oauth2/token", "/msi/token"


class ManagedIdentities(StrictServer):
    """One machine with a system-assigned identity and one that a user assigned, by either of the two places."""

    user_assigned = "5c1d2b3a-0000-4a4a-8b8b-111122223333"
    header = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"

    def __init__(self) -> None:
        super().__init__()
        self.life = 86_000
        self.resources = [STORAGE, "https://vault.azure.net"]
        self.assigned: set[str | None] = {None, self.user_assigned}
        self.mint: Callable[[str], str] = lambda _: f"eyJ.{secrets.token_urlsafe(200)}.{secrets.token_urlsafe(60)}"

    @property
    def app_service(self) -> dict[str, str]:
        """The variables that App Service sets."""
        return {"IDENTITY_ENDPOINT": f"{self.uri}{_APP_SERVICE}", "IDENTITY_HEADER": self.header}

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "GET"
        assert not asked.body
        assert asked.url.path in (_IMDS, _APP_SERVICE)
        of_machine = asked.url.path == _IMDS
        query = asked.query
        assert set(query) - {"client_id"} == {"api-version", "resource"}
        if of_machine:
            assert query["api-version"] == "2018-02-01"
            assert asked.headers.get("metadata") == "true"
            assert "x-forwarded-for" not in asked.headers
        else:
            assert query["api-version"] == "2019-08-01"
            if asked.headers.get("x-identity-header") != self.header:
                return Answer(401, {"statusCode": 401, "message": "as the vendor words it"})
        client_id = query.get("client_id")
        if client_id not in self.assigned:
            return Answer(400, {"error": "invalid_request", "error_description": "Identity not found"})
        if query["resource"] not in self.resources:
            return Answer(400, {"error": "invalid_resource", "error_description": "AADSTS500011: as the vendor words it"})
        ends = int(now()) + self.life
        body = {
            "access_token": self.mint(query["resource"]),
            "expires_on": str(ends),
            "resource": query["resource"],
            "token_type": "Bearer",
            "client_id": client_id or "aaaaaaaa-0000-4a4a-8b8b-111122223333",
        }
        if of_machine:  # from the token's issue, which was some time ago
            body |= {"refresh_token": "", "expires_in": "86400", "not_before": str(ends - 86_400)}
        return Answer(200, body)
