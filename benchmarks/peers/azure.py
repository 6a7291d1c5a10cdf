"""azure-identity: a client secret credential over a transport that answers in the process."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc"
from __future__ import annotations

import json
from typing import Any

from benchmarks.contender import Call, Contender, Issuer, IssuerDownError, State

_AUTHORITY = "https://login.microsoftonline.com/tenant"
_DISCOVERY = {
    "issuer": _AUTHORITY,
    "authorization_endpoint": f"{_AUTHORITY}/oauth2/v2.0/authorize",
    "token_endpoint": f"{_AUTHORITY}/oauth2/v2.0/token",
}


class _Answer:
    """As much of azure-core's response as azure-identity reads."""

    content_type = "application/json"
    reason = ""
    request = internal_response = None

    def __init__(self, status: int, body: dict[str, object]) -> None:
        self.status_code = status
        self.headers = {"content-type": self.content_type}
        self._text = json.dumps(body)

    def text(self, encoding: str | None = None) -> str:
        return self._text

    def body(self) -> bytes:
        return self._text.encode()


def _client_secret(issuer: Issuer, state: State) -> Call:
    from azure.core.pipeline.transport import HttpTransport
    from azure.identity import ClientSecretCredential

    class Endpoint(HttpTransport[Any, Any]):
        def send(self, request: Any, **_: object) -> Any:
            if request.url.endswith("openid-configuration"):
                return _Answer(200, dict(_DISCOVERY))
            try:
                return _Answer(200, {"access_token": issuer(), "expires_in": 3600, "token_type": "Bearer"})
            except IssuerDownError:
                return _Answer(400, {"error": "temporarily_unavailable", "error_description": "down"})

        def open(self) -> None:
            pass

        def close(self) -> None:
            pass

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    credential = ClientSecretCredential("tenant", "client", "secret", transport=Endpoint(), disable_instance_discovery=True)

    def get() -> object:
        return credential.get_token("https://storage.azure.com/.default")

    if state is State.WARM:
        get()
    return Call(get)


CONTENDERS = (Contender("azure-identity get_token", _client_secret, frozenset({State.WARM, State.COLD}), "azure.identity"),)
