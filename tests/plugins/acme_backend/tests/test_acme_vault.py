from collections.abc import Callable
from datetime import datetime

from acme_backend import AcmeVault
from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.secrets.backend import Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.testing import answer, check_backend

SHELF = "https://vault.acme.example/shelves/prod/"
LOGIN = BackendLogin(method="token", token=SecretReference(secret_ref="acme-vault-token"))
SETTINGS = BackendSettings(type="acme_vault", address="https://vault.acme.example", auth=LOGIN, options={"shelf": "prod"})


class Given:
    """The backend before it, which has its token."""

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        return Lookup("the test", SecretStr("token-of-the-vault"))


def acme(secrets: dict[str, str]) -> Callable[[HttpRequest, datetime], HttpResponse]:
    def answers(request: HttpRequest, now: datetime) -> HttpResponse:
        assert request.headers["authorization"] == "Bearer token-of-the-vault"
        value = secrets.get(request.url.removeprefix(SHELF))
        return answer({}, 404) if value is None else answer({"value": value})

    return answers


def test_the_backend_keeps_the_contract() -> None:
    check_backend(lambda: AcmeVault(SETTINGS, (Given(),)), name="acme-key", answers=acme, logins=["token-of-the-vault"])
