"""The canary in every place where a secret is kept, and in every way for a client to show it: it shows nowhere else."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credbroker import Broker, SecretReference
from credbroker.cli import main
from credbroker.config import from_data, resolver
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError
from credbroker.system.environment import SystemEnvironment
from credbroker.testing import FakeHttp, ManualClock
from tests.security.canary import NOW, SECRET, TOKEN, answered, assert_clean, everything_about

Answer = HttpResponse | CredbrokerError | Callable[[HttpRequest], HttpResponse]
POLARIS = SecretReference(secret_ref="polaris")
SERVICE_KEY = ec.generate_private_key(ec.SECP256R1())
PEM = SERVICE_KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PEM_BODY = "".join(PEM.splitlines()[1:-1])


def clean(text: str) -> None:
    assert_clean(text)
    assert PEM_BODY[60:100] not in text.replace("\\n", "").replace("\n", "")


class World(SystemEnvironment):
    """The variables that backends are logged in to with, all of them the canary."""

    def variable(self, name: str) -> str | None:
        held = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
        return held.get(name, SECRET if name in ("VAULT_LOGIN", "AZURE_LOGIN") else None)


def _json(status: int, data: object) -> HttpResponse:
    return answered(status, json.dumps(data).encode())


AWS = {"region": "eu-west-1", "credential_source": "environment"}
VAULT = {
    "type": "vault",
    "address": "https://vault.example",
    "auth": {"method": "approle", "role_id": "r", "secret_id": {"secret_ref": "vault-login"}},
}
AZURE = {
    "type": "azure",
    "address": "https://acme.vault.azure.net",
    "auth": {
        "method": "client_secret",
        "tenant_id": "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42",
        "client_id": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
        "client_secret": {"secret_ref": "azure-login"},
    },
}
LOGIN = _json(200, {"auth": {"client_token": TOKEN, "lease_duration": 3600}})
ENTRA = _json(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
KV = _json(200, {"data": {"data": {"value": SECRET}, "metadata": {}}})
SEALED_KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
SEALED = {"type": "dynamodb_kms", "table": "t", "key_id": SEALED_KEY, **AWS}
ITEM = _json(200, {"Item": {"ciphertext": {"B": base64.b64encode(b"sealed").decode()}}})
OPENED = _json(200, {"Plaintext": base64.b64encode(SECRET.encode()).decode(), "KeyId": SEALED_KEY})
FOUND: list[tuple[dict[str, Any], tuple[Answer, ...]]] = [
    (VAULT, (LOGIN, KV)),
    ({"type": "aws_secrets_manager", **AWS}, (_json(200, {"Name": "polaris", "SecretString": SECRET}),)),
    ({"type": "aws_ssm", **AWS}, (_json(200, {"Parameter": {"Type": "SecureString", "Value": SECRET}}),)),
    (SEALED, (ITEM, OPENED)),
    (AZURE, (ENTRA, _json(200, {"value": SECRET, "id": "https://acme.vault.azure.net/secrets/polaris/1"}))),
]
ECHO = {"errors": [SECRET], "error": SECRET, "message": TOKEN, "Message": f"{SECRET} {TOKEN}", "__type": SECRET}
BROKEN: list[Answer] = [
    *(_json(status, ECHO) for status in (200, 400, 401, 403, 404, 429, 500, 503)),
    answered(200, f"<html>{SECRET}{TOKEN}</html>".encode()),
    answered(200, f'{{"data": "{SECRET}"'.encode()),
    answered(302, b"", location=f"https://{TOKEN}.example"),
]


def broker_of(backend: dict[str, Any], *answers: Answer, **sections: Any) -> Broker:
    """A broker whose secrets are looked for by that backend, which is answered so."""
    config = {"environment": "local", "secret_backends": [{"type": "env"}, backend], **sections}
    world = Context(clock=ManualClock(NOW), http=FakeHttp(*answers), environment=World())
    context = Context(clock=ManualClock(NOW), secrets=resolver(from_data(config), world))
    return Broker.from_config(config, context=context)


@pytest.mark.parametrize(("backend", "answers"), FOUND, ids=[backend["type"] for backend, _ in FOUND])
def test_what_a_backend_holds_and_is_logged_in_to_with_shows_nowhere(
    backend: dict[str, Any], answers: tuple[Answer, ...], logged: io.StringIO
) -> None:
    with broker_of(backend, *answers) as broker:
        assert broker.resolve(POLARIS).get_secret_value() == SECRET
        secrets: Any = broker._brokerage.context.secrets
        clean(f"{secrets!r} {vars(secrets)!r} {[vars(one) for one in secrets.backends]!r}")
        clean(repr(pickle.dumps(broker)))
    clean(logged.getvalue())


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("backend", "answers"), FOUND, ids=[backend["type"] for backend, _ in FOUND])
def test_no_answer_of_a_place_is_repeated(
    backend: dict[str, Any], answers: tuple[Answer, ...], broken: Answer, logged: io.StringIO
) -> None:
    for place in range(len(answers)):
        # The broken answer comes as often as anybody may ask again.
        with (
            broker_of(backend, *answers[:place], *[broken] * 4) as broker,
            pytest.raises(CredbrokerError) as caught,
        ):
            broker.resolve(POLARIS)
        clean(everything_about(caught.value))
        assert "answer left" not in str(caught.value)
    clean(logged.getvalue())


def test_a_lease_shows_nowhere_and_its_name_in_no_record(logged: io.StringIO) -> None:
    data = {"username": "v", "password": SECRET}
    answer = _json(200, {"lease_id": f"database/creds/x/{TOKEN}", "lease_duration": 600, "data": data})
    compute = {"x": {"credentials": {"mode": "static", "secret_ref": {"secret_ref": "x", "engine": "dynamic"}}}}
    refused = _json(403, ECHO)
    with broker_of(VAULT, LOGIN, answer, refused, LOGIN, refused, compute=compute) as broker:
        source = broker.compute("x")
        value = source.get()
        clean(f"{value!r} {source!r} {broker.status()!r}")
        clean(repr(broker.revoke("x")))
    clean(logged.getvalue())
    assert "revoked" in logged.getvalue()


# -- ways for a client to show its secret ----------------------------------------------------------------------------------

GOOD = _json(
    200,
    {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 3600,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    },
)
KEYED = {"private_key": {"secret_ref": "key"}}
CLIENTS: list[dict[str, Any]] = [
    {"token_endpoint_auth_method": "client_secret_jwt", "client_secret": {"secret_ref": "secret"}},
    {"token_endpoint_auth_method": "private_key_jwt", **KEYED},
    {"token_endpoint_auth_method": "private_key_jwt", **KEYED, "signing_alg": "RS256"},
    {"token_endpoint_auth_method": "private_key_jwt", "private_key": {"secret_ref": "secret"}},
    {"token_endpoint_auth_method": "private_key_jwt", "private_key": {"secret_ref": "half"}},
    {
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "certificate": {"secret_ref": "key"},
        "certificate_key": {"secret_ref": "key"},
    },
    {
        "client_secret": {"secret_ref": "secret"},
        "grant_type": "token-exchange",
        "subject_token": {"secret_ref": "subject"},
    },
]


class Held:
    def resolve(self, reference: SecretReference) -> Any:
        from pydantic import SecretStr

        texts = {"secret": SECRET * 2, "key": PEM, "half": PEM[: len(PEM) // 2], "subject": TOKEN}
        return SecretStr(texts[reference.secret_ref])

    lease = resolve

    def revoke(self, lease: str) -> None:
        raise AssertionError(lease)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: "-".join(map(str, client.values()))[:60])
@pytest.mark.parametrize("answer", [GOOD, _json(401, {"error": "invalid_client", "error_description": SECRET}), *BROKEN])
def test_what_a_client_shows_its_issuer_shows_nowhere_else(
    client: dict[str, Any], answer: HttpResponse, logged: io.StringIO
) -> None:
    seen: list[HttpRequest] = []

    def answering(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return answer

    credentials = {"mode": "oauth2", "token_url": "https://issuer.example/token", "client_id": "svc", **client}
    config = {"environment": "local", "catalogs": {"c": {"uri": "https://c.example", "credentials": credentials}}}
    context = Context(
        clock=ManualClock(NOW), http=FakeHttp(*[answering] * 4), secrets=Held(), environment=SystemEnvironment()
    )
    with Broker.from_config(config, context=context) as broker:
        source = broker.catalog("c")
        try:
            clean(repr(source.get()))
        except CredbrokerError as error:
            clean(everything_about(error))
            shown = everything_about(error)
        else:
            shown = ""
        shown += repr(broker.status()) + repr(broker.revoke("c")) + logged.getvalue()
    clean(shown)
    for request in seen:
        clean(repr(request))
        for part in (request.body or b"").decode().split("&"):
            name, _, value = part.partition("=")
            # An assertion is good for a minute to whoever reads it.
            assert name not in ("client_assertion", "subject_token", "client_secret", "token") or value not in shown


# -- configurations and files ----------------------------------------------------------------------------------------------


def test_a_reload_of_a_literal_secret_repeats_it_nowhere(tmp_path: Path, logged: io.StringIO) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps({"environment": "local", "catalogs": {}}))
    with Broker.from_yaml(path) as broker:
        path.write_text(json.dumps({"secret_backends": [{**VAULT, "auth": {"method": "token", "token": SECRET}}]}))
        with pytest.raises(ConfigurationError) as caught:
            broker.reload()
        clean(everything_about(caught.value))
    clean(logged.getvalue())


ENCODED = base64.b64encode(SECRET.encode()).decode()
FILES = {
    "floe.yaml": f"name: demo\nversion: '1.0.0'\ncatalog: {SECRET!r}\npassword: {SECRET!r}\n",
    "platform.yaml": f"catalogs: {{c: {{credentials: {{client_secret: {SECRET!r}}}}}}}\n",
    "secret.yaml": f"kind: Secret\nstringData: {{password: {SECRET!r}}}\ndata: {{token: {ENCODED}}}\n",
    ".env": f"PASSWORD={SECRET}\nexport API_TOKEN='{SECRET}'\n",
    "notes.txt": f"-----BEGIN PRIVATE KEY-----\n{ENCODED * 4}\n-----END PRIVATE KEY-----\nand {SECRET}\n",
    "broken.yaml": f"password: {SECRET!r}\n  bad: [{SECRET}\n",
}
FORMATS = ("json", "sarif", "github")
COMMANDS = [["validate"], ["validate", "--json"], ["scan"], *(["scan", "--format", kind] for kind in FORMATS)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_secret_that_is_found_is_never_shown(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], logged: io.StringIO
) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    code = main([*command, str(path)])
    told = capsys.readouterr()
    clean(told.out + told.err + logged.getvalue())
    assert code in (1, 78)
