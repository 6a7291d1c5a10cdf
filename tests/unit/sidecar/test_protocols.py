"""What holds for every protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import SecretStr
from tests.unit.sidecar.protocol_server import ENDS, NOW, ask, place

from credbroker.config.sidecar import SERVES as CONFIGURABLE
from credbroker.credentials import AccessToken, DatabaseCredentials, S3Credentials, TableCredentials
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.sidecar.protocol import Refusal
from credbroker.sidecar.protocols import PROTOCOLS

CANARY = "canary-5d1e"
LAKE = Location.parse("s3://lake/sales/")
LOGIN = DatabaseCredentials("me", password=SecretStr(CANARY))
TOKEN = AccessToken(SecretStr(CANARY))
KEYS = S3Credentials("AKIA", SecretStr(CANARY), SecretStr(CANARY), locations=(LAKE,))
OF_TOKENS = ["gce-metadata", "azure-app-service", "azure-imds", "oauth2-token", "google-subject-token"]
OF_KEYS = ["aws-container", "iceberg-credentials"]


def test_the_names_are_those_of_the_configuration() -> None:
    assert set(PROTOCOLS) == set(CONFIGURABLE)
    assert [protocol.name for protocol in PROTOCOLS.values()] == list(PROTOCOLS)


def test_only_clients_that_ask_by_host_alone_are_served_at_the_root() -> None:
    assert [name for name, protocol in PROTOCOLS.items() if protocol.rooted] == ["gce-metadata"]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_no_two_routes_are_one(name: str) -> None:
    routes = [(route.method, route.path) for route in PROTOCOLS[name].routes]
    assert len(set(routes)) == len(routes)
    assert all(path == "" or path.startswith("/") for _, path in routes)


@pytest.mark.parametrize(("name", "value"), [*((name, TOKEN) for name in OF_TOKENS), *((name, KEYS) for name in OF_KEYS)])
def test_an_answer_is_stored_by_nobody_and_has_no_repr(name: str, value: AccessToken | S3Credentials) -> None:
    answering = [route.answer for route in PROTOCOLS[name].routes if route.answer is not None]
    assert answering
    for answer in answering:
        told = answer(ask({"resource": "https://storage.azure.com"}), value, ENDS)
        assert told.status == 200
        assert ("cache-control", "no-store") in told.headers
        assert CANARY in told.body.decode()
        assert CANARY not in repr(told)


@pytest.mark.parametrize("name", list(PROTOCOLS))
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 429, 500, 503])
def test_a_refusal_says_why_and_when_to_come_back(name: str, status: int) -> None:
    told = PROTOCOLS[name].refusal(Refusal(status, "TooBad", "the issuer is away", retry_after=7))
    assert told.status >= 400
    assert ("cache-control", "no-store") in told.headers
    assert ("retry-after", "7") in told.headers
    assert "the issuer is away" in told.body.decode()
    if told.content_type == "application/json":
        json.loads(told.body)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_value_that_a_protocol_cannot_tell_is_refused_without_showing_it(name: str) -> None:
    wrong = [LOGIN, KEYS if name in OF_TOKENS else TOKEN]
    for route in PROTOCOLS[name].routes:
        for value in wrong if route.answer is not None else ():
            assert route.answer is not None
            with pytest.raises(ConfigurationError, match=name) as caught:
                route.answer(ask({"resource": "r"}), value, ENDS)
            assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", ["gce-metadata", "azure-app-service", "azure-imds"])
def test_what_is_no_bearer_token_is_not_called_one(name: str) -> None:
    value = AccessToken(SecretStr(CANARY), token_type="DPoP")
    for route in PROTOCOLS[name].routes:
        if route.answer is not None:
            with pytest.raises(ConfigurationError, match="another type"):
                route.answer(ask({"resource": "r"}), value, ENDS)


@pytest.mark.parametrize("name", ["aws-container", "iceberg-credentials"])
def test_keys_that_never_end_are_not_told(name: str) -> None:
    static = S3Credentials("AKIA", SecretStr(CANARY), locations=(LAKE,))
    for value in (static, TableCredentials(((LAKE, static),))):
        answer = PROTOCOLS[name].routes[0].answer
        assert answer is not None
        with pytest.raises(ConfigurationError, match="session token"):
            answer(ask(), value, ENDS)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_the_variables_show_no_secret(name: str) -> None:
    variables = PROTOCOLS[name].environment(place(region="eu-central-1", endpoint="https://s3.example"))
    assert "kR7_caller-token" not in repr(variables)


def test_what_is_left_is_cut_off_and_never_below_zero() -> None:
    asked = ask()
    assert asked.left(NOW + timedelta(seconds=9.9)) == 9
    assert asked.left(NOW - timedelta(seconds=9)) == 0
    assert asked.left(None) == 3600


def test_no_sdk_is_loaded() -> None:
    heavy = ("boto3", "botocore", "google", "azure", "msal", "pyiceberg", "requests", "urllib3", "cryptography", "yaml")
    program = f"import sys, credbroker.sidecar.protocols; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
