from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.sidecars import LAKE, POLARIS, SECRET, keys

from credbroker import Broker
from credbroker.errors import ConfigurationError, IssueDenied
from credbroker.integrations import local
from credbroker.testing import ControlledProvider

ASK = """
import json, os, urllib.request
token = open(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read()
request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""
GCS = {
    "type": "gcs",
    "locations": ["gs://lake/sales/"],
    "credentials": {"mode": "service_account", "service_account_file": {"secret_ref": "gcp-key"}},
}


@pytest.fixture
def provider() -> ControlledProvider:
    return ControlledProvider(answer=keys)


@pytest.fixture
def broker(provider: ControlledProvider) -> Iterator[Broker]:
    platform = {"environment": "test", "storage": {"lake": LAKE}, "catalogs": {"polaris": POLARIS}}
    with Broker.from_config(platform, providers={"iam_role": provider, "oauth2": provider}) as one:
        yield one


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_")) or name.lower() == "no_proxy":
            monkeypatch.delenv(name)


def test_another_process_asks_by_the_environment_that_it_is_given(broker: Broker) -> None:
    with local.serve(broker.storage("lake")) as served:
        told = subprocess.run(
            [sys.executable, "-c", ASK], env=dict(served.environment), capture_output=True, text=True, check=True, timeout=60
        ).stdout
        assert json.loads(told)["SecretAccessKey"] == SECRET
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in os.environ
        token_file = Path(served.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert served.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith(served.url)
        assert token_file.read_text() not in repr(served)
    assert not token_file.parent.exists()


def test_exported_it_leads_the_clients_of_this_process_and_is_gone_after_the_block(broker: Broker) -> None:
    before = dict(os.environ)
    with local.serve(broker.storage("lake"), export=True) as served:
        assert dict(os.environ) == served.environment
    assert dict(os.environ) == before


def test_nothing_that_somebody_has_exported_is_changed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYS")
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    before = dict(os.environ)
    with (
        pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID, AWS_REGION is exported already") as caught,
        local.serve(broker.storage("lake"), export=True),
    ):
        pass
    assert "AKIASOMEBODYS" not in str(caught.value)
    assert dict(os.environ) == before


def test_two_may_be_served_and_one_exported(broker: Broker) -> None:
    lake = broker.storage("lake")
    with local.serve(lake, export=True) as first, local.serve(lake) as second:
        assert first.url != second.url
        with pytest.raises(ConfigurationError, match="exported already"), local.serve(lake, export=True):
            pass


def test_a_token_is_served_by_the_protocol_that_is_named(broker: Broker) -> None:
    with local.serve(broker.catalog("polaris")) as served:
        assert served.environment["PYICEBERG_CATALOG__LOCAL__OAUTH2_SERVER_URI"] == f"{served.url}/local/oauth2-token"
    with local.serve(broker.catalog("polaris"), protocol="azure-app-service") as served:
        assert served.environment["IDENTITY_ENDPOINT"] == f"{served.url}/local/azure-app-service"
    for source, protocol in ((broker.catalog("polaris"), "aws-container"), (broker.storage("lake"), "nonsense")):
        with pytest.raises(ConfigurationError, match="does not serve this source"), local.serve(source, protocol=protocol):
            pass


def test_what_its_first_issue_raises_is_raised_and_nothing_is_left(broker: Broker, provider: ControlledProvider) -> None:
    provider.fail_with(IssueDenied("the role may not be assumed"))
    with pytest.raises(IssueDenied), local.serve(broker.storage("lake"), export=True):
        pass
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in os.environ


def test_a_forked_child_that_leaves_the_block_takes_nothing_from_its_parent(broker: Broker) -> None:
    block = local.serve(broker.storage("lake"))
    served = block.__enter__()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            block.__exit__(None, None, None)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    told = subprocess.run(
        [sys.executable, "-c", ASK], env=dict(served.environment), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert json.loads(told)["SecretAccessKey"] == SECRET
    block.__exit__(None, None, None)
    assert not Path(served.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).exists()
