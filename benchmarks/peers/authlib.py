"""authlib: an OAuth2 session that looks after its own token."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call,misc"
from __future__ import annotations

import json
import time

from benchmarks.contender import Call, Contender, Issuer, IssuerDownError, State


def _session(issuer: Issuer, state: State) -> Call:
    import requests
    from authlib.integrations.requests_client import OAuth2Session
    from requests.adapters import BaseAdapter

    class Endpoint(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
            answer = requests.Response()
            answer.request = request
            answer.headers["content-type"] = "application/json"
            try:
                body = {"access_token": issuer(), "token_type": "Bearer", "expires_in": 3600}
                answer.status_code = 200
            except IssuerDownError:
                body = {"error": "temporarily_unavailable"}
                answer.status_code = 400
            answer._content = json.dumps(body).encode()
            return answer

        def close(self) -> None:
            pass

    left = 3600 if state is State.WARM else -1
    session = OAuth2Session(
        "client",
        "secret",
        token={"access_token": "token-0", "token_type": "Bearer", "expires_at": int(time.time()) + left},
        token_endpoint="https://issuer.example/token",  # noqa: S106 - an address, no password
        grant_type="client_credentials",
    )
    session.mount("https://", Endpoint())

    def get() -> object:
        session.ensure_active_token()
        return session.token["access_token"]

    return Call(get)


CONTENDERS = (Contender("authlib OAuth2Session", _session, frozenset({State.WARM, State.COLD}), "authlib"),)
