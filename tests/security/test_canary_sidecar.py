"""The canary in a sidecar: its credentials and its callers' tokens show in the answers that are meant to hold them, only."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from credbroker.cli.sidecar import described
from credbroker.credentials import S3Credentials
from credbroker.errors import IssuerUnavailable
from credbroker.integrations import local
from credbroker.sidecar.protocol import Answer, Ask
from credbroker.testing import ControlledProvider
from tests.security.canary import codings
from tests.servers.sidecars import READ_LAKE, SECRET, TOKEN, Served, keys, request_bytes, serving

BINDINGS = {
    **READ_LAKE["bindings"],
    "polaris": {
        "catalog": "polaris",
        "protocols": ["oauth2-token", "azure-app-service", "azure-imds", "google-subject-token"],
    },
    "metadata": {"catalog": "polaris", "protocols": ["gce-metadata"]},
    "rest": {
        "storage": "lake",
        "protocols": ["iceberg-credentials"],
        "files": [{"path": "aws/credentials", "form": "aws-credentials"}],
    },
}
PATHS = (
    "/lake-read/aws-container",
    "/polaris/azure-app-service?api-version=2019-08-01&resource=https://storage.azure.com",
    "/polaris/azure-imds/metadata/identity/oauth2/token?resource=https://storage.azure.com",
    "/polaris/google-subject-token",
    "/computeMetadata/v1/instance/service-accounts/default/token",
    "/rest/iceberg-credentials",
    "/status",
    "/metrics",
    "/healthz",
    "/readyz",
    "/nowhere",
)


@pytest.fixture
def provider() -> ControlledProvider:
    return ControlledProvider(answer=keys)


@pytest.fixture
def served(provider: ControlledProvider, logged: io.StringIO) -> Iterator[Served]:
    with serving({"bindings": BINDINGS}, provider=provider) as one:
        yield one


def assert_shows_nothing(served: Served, *texts: str) -> None:
    secrets = {SECRET, *(served.token(name) for name in (*BINDINGS, "status"))}
    for text in texts:
        assert TOKEN not in text
        for secret in secrets:
            for coding in codings(secret):
                assert coding not in text, coding


def test_the_answers_of_those_who_may_ask_are_where_it_shows(served: Served) -> None:
    # Else the rest of this file would prove nothing.
    assert SECRET in served.get(PATHS[0], served.bearer("lake-read")).body.decode()
    assert TOKEN in served.get(PATHS[4], {"Metadata-Flavor": "Google"}).body.decode()


def test_no_refusal_of_any_protocol_shows_it(served: Served, provider: ControlledProvider) -> None:
    wrong = (
        {},
        {"Authorization": "Bearer wrong"},
        {"X-IDENTITY-HEADER": "wrong"},
        {"Host": "evil.example"},
        {"Origin": "x"},
    )
    shown = [served.get(path, headers).body.decode() for path in PATHS for headers in wrong]
    shown.append(served.post("/polaris/oauth2-token", b"grant_type=password").body.decode())
    shown.append(served.post("/polaris/oauth2-token", b"grant_type=client_credentials&client_secret=x").body.decode())
    provider.fail_with(IssuerUnavailable("sts did not answer"))
    served.sidecar.broker.purge("lake")
    served.sidecar.broker.purge("polaris")
    for path, name in zip(PATHS, ("lake-read", "polaris", "polaris", "polaris", "metadata", "rest"), strict=False):
        token = served.token(name)
        headers = {"Authorization": f"Bearer {token}", "X-IDENTITY-HEADER": token, "Metadata": "true"}
        reply = served.get(path, {**headers, "Metadata-Flavor": "Google"})
        assert reply.status != 200, path
        shown.append(reply.body.decode())
    assert_shows_nothing(served, *shown)


def test_no_page_file_of_its_own_or_log_shows_it(served: Served, logged: io.StringIO) -> None:
    for path in PATHS:
        served.get(path, {**served.bearer("lake-read"), "Metadata-Flavor": "Google"})
        served.get(path, {**served.bearer("status"), "X-IDENTITY-HEADER": served.token("polaris")})
    served.send(request_bytes("GET", "/lake-read/aws-container", {"Host": "127.0.0.1", "Content-Length": "9"}))
    served.send(b"garbage " + served.token("lake-read").encode() + b"\r\n\r\n")
    status = {"Host": "127.0.0.1", **served.bearer("status")}
    shown = [served.get(path, status).body.decode() for path in ("/status", "/metrics", "/readyz")]
    shown.append((Path(served.sidecar.directory) / "sidecar.json").read_text())
    shown.append(json.dumps(described(served.sidecar)))
    assert_shows_nothing(served, *shown, logged.getvalue(), repr(sorted(Path(served.sidecar.directory).iterdir())))
    assert "delivered" in logged.getvalue()


def test_no_object_of_it_shows_it(served: Served) -> None:
    sidecar = served.sidecar
    binding = sidecar.bindings["lake-read"]
    place = sidecar.place(binding)
    value = asyncio.run(binding.value())
    assert isinstance(value, S3Credentials)
    ask = Ask("lake-read", {}, {"authorization": served.token("lake-read")}, {"client_secret": SECRET}, binding.now())
    secret = [place, ask, Answer(200, SECRET.encode()), value, sidecar._tokens]
    others = [
        sidecar,
        binding,
        sidecar._app,
        sidecar._files,
        *(one.environment(place) for one in sidecar.protocols(binding)),
    ]
    assert_shows_nothing(served, *map(repr, (*secret, *others)))
    for thing in secret:
        with pytest.raises(TypeError, match="holds a secret"):
            pickle.dumps(thing)


def test_what_a_pipeline_serves_of_its_own_shows_it_to_its_clients_only(
    provider: ControlledProvider, logged: io.StringIO
) -> None:
    with serving({"bindings": BINDINGS}, provider=provider) as one:
        lake = one.sidecar.broker.storage("lake")
        with local.serve(lake) as served:
            token = Path(served.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read_text()
            for text in (repr(served), logged.getvalue()):
                assert token not in text
                assert SECRET not in text
