"""Every mode, way to an identity, and cloud: the matrix, with its proof, the requests of an issue and what is loaded for it.

Each cell is really issued, through the public API; whoever it is for takes it. Where a server cannot be had, each request
is checked against the vendor's page that the table names. The requests are counted where they arrive.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import pytest
from tests.servers import ceph as cephs
from tests.servers.cells import aws, aws_signed, azure, gcp, kubernetes
from tests.servers.cells.cell import Cell, Stage
from tests.servers.cells.opening import source_of
from tests.servers.federated import FederatedCeph, FederatedSeaweedFS
from tests.servers.oidc import provider as oidc_providers
from tests.servers.oidc.provider import OidcProvider
from tests.servers.store import owned

from credbroker.config.credentials import CredentialSource

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, str, str]
CELLS = (*aws.CELLS, *aws_signed.CELLS, *gcp.CELLS, *azure.CELLS, *kubernetes.CELLS)
ELSEWHERE = (
    ("static, oauth2", "every authentication, every place of a secret", "-", "tests/live/test_secrets_and_clients.py"),
    ("static", "storage: a key pair from a secret", "aws", "tests/live/test_kubernetes_tokens.py"),
    ("catalog", "storage: vended by a table's catalog", "-", "tests/live/test_catalog.py"),
    ("service_account", "web_identity: a secret, a field, a profile", "gcp", "tests/live/test_gcp.py"),
    ("iam_role", "tags, source identity, external id", "aws", "tests/unit/providers/test_iam_role_sources.py"),
)
WIDTHS = (17, 47, 12, 10, 11, 12, 0)


@dataclass
class Matrix:
    """What was seen of each row: requests, the SDK's requests and the proof, by server; and the SDKs that were loaded."""

    seen: dict[Row, list[tuple[str, str, str]]] = field(default_factory=dict)
    loaded: dict[Row, set[str]] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, ...]]:
        yield "mode", "what: identity", "cloud", "requests", "SDK", "loads", "proof"
        for row, seen in self.seen.items():
            # The servers that one cell is shown at are asked for the same: each is held to the cell's cost.
            requests, sdk, _ = seen[0]
            loaded = ", ".join(sorted(self.loaded.get(row, ()))) or "-"
            yield *row, requests, sdk, loaded, " and ".join(one[2] for one in seen)
        for mode, what, cloud, proof in ELSEWHERE:
            yield mode, what, cloud, "", "", "", proof


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """Printed as a table when all is done."""
    made = Matrix()
    yield made
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        say = print  # the one place where a test speaks: the matrix is for people
        say("\n\nrequests at the servers: of a first issue; of a further one (the next prefix, else the next token)")
        for row in made.rows():
            say("".join(f"{text:<{width}}" for text, width in zip(row, WIDTHS, strict=True)).rstrip())


@pytest.fixture(scope="module")
def identities_issuer() -> Iterator[OidcProvider]:
    """One of this module's own: the stores know its keys."""
    if not oidc_providers.installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"oidc-provider is not installed: {oidc_providers.INSTALL}")
    with OidcProvider() as server:
        yield server


@pytest.fixture(scope="module")
def identities_seaweedfs(identities_issuer: OidcProvider) -> Iterator[FederatedSeaweedFS]:
    with FederatedSeaweedFS(identities_issuer) as store:
        fill(store)
        yield store


@pytest.fixture(scope="module")
def identities_ceph(identities_issuer: OidcProvider) -> Iterator[FederatedCeph]:
    if not cephs.installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Ceph is not installed: {cephs.INSTALL}")
    with FederatedCeph(identities_issuer) as store:
        fill(store)
        yield store


def fill(store: FederatedSeaweedFS | FederatedCeph) -> None:
    with owned(store) as owner:
        if "lake" not in {bucket["Name"] for bucket in owner.list_buckets()["Buckets"]}:
            owner.create_bucket(Bucket="lake")
        for key in ("sales/orders", "finance/orders"):
            owner.put_object(Bucket="lake", Key=key, Body=b"1")


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with ExitStack() as running:
        yield Stage(request.getfixturevalue, tmp_path, monkeypatch, running)


def test_each_source_of_an_identity_has_its_cell() -> None:
    """A source that is added has to be shown here."""
    methods = " ".join(cell.method for cell in CELLS)
    assert [source for source in get_args(CredentialSource) if source not in methods] == []


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cell_is_issued_taken_and_costs_no_more_than_this(cell: Cell, stage: Stage, matrix: Matrix) -> None:
    with cell.set_up(stage) as scene:
        with scene.opening.broker() as broker:
            counts = []
            for ask in (scene.ask, scene.further or scene.ask):
                before = scene.asked()
                value = source_of(broker, ask).get()
                counts.append(scene.asked() - before)
                assert type(value) is cell.kind
                scene.accepted(broker, value)
                if scene.further is None:
                    broker.purge(scene.ask[1])
                    scene.between()
        theirs = []
        for call in scene.sdk() if scene.sdk is not None else ():
            before = scene.asked()
            call()
            theirs.append(scene.asked() - before)
    assert tuple(counts) == cell.cost
    assert tuple(theirs) == cell.sdk
    sdk = f"SDK: {'; '.join(map(str, theirs))}" if theirs else "-"
    matrix.seen.setdefault(cell.row, []).append(("; ".join(map(str, counts)), sdk, cell.proof))


_PROGRAM = """
import json, sys
from tests.servers.cells.opening import Opening, source_of
said = json.loads(sys.argv[1])
with Opening(**said["opening"]).broker() as broker:
    source_of(broker, said["ask"]).get()
print(*sorted({name.partition(".")[0] for name in sys.modules} & set(said["sdks"])))
"""
SDKS = ("boto3", "botocore", "aiobotocore", "google", "azure", "msal", "authlib", "joserfc", "pyarrow", "pyiceberg")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_in_a_new_process_no_sdk_is_loaded_that_the_cell_does_not_need(cell: Cell, stage: Stage, matrix: Matrix) -> None:
    with cell.set_up(stage) as scene:
        said: Any = {"opening": asdict(scene.opening), "ask": scene.ask, "sdks": SDKS}
        arguments = [sys.executable, "-c", _PROGRAM, json.dumps(said)]
        ran = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr[-3000:]
    loaded = set(ran.stdout.split())
    assert loaded == cell.loads
    matrix.loaded.setdefault(cell.row, set()).update(loaded)
