import json
from datetime import datetime

from acme_provider import AcmeTokens

from credbroker.context import HttpRequest, HttpResponse
from credbroker.testing import answer, check_provider

CONFIG = {
    "plugins": ["acme_tokens"],
    "catalogs": {
        "lake": {
            "uri": "https://catalog.acme.example/api",
            "credentials": {
                "mode": "acme_tokens",
                "service": "https://tokens.acme.example",
                "team": "data-platform",
                "secret_ref": "acme-key",
                "scope": "tables:read",
            },
        }
    },
}


def acme(request: HttpRequest, now: datetime) -> HttpResponse:
    assert (request.method, request.url) == ("POST", "https://tokens.acme.example/v1/tokens")
    assert request.headers["authorization"].startswith("Acme-Key ")
    assert json.loads(request.body or b"") == {"team": "data-platform", "scopes": ["tables:read"]}
    return answer({"token": "acme-token-0123456789", "scopes": ["tables:read"], "valid_for": 900})


def test_the_provider_keeps_the_contract() -> None:
    report = check_provider(
        AcmeTokens, config=CONFIG, kind="catalog", name="lake", answers=acme, secrets={"acme-key": "the-key-of-the-team"}
    )
    assert not report.left_out
