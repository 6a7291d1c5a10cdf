"""A profile is moved from a secret to the pod's own identity under a running job, on Google Cloud and on Azure.

Mode ``static`` has keys for S3 alone: for a store of Google's or Azure's the secret is the account's key or the
application's secret; for a catalog it is a static token. The move of a store on S3 stands in ``test_kubernetes_tokens``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers.azurite_world import BLOB, LAKE, at_azurite, fill, platform, status
from tests.servers.cells.azure import identity
from tests.servers.cells.cell import Stage
from tests.servers.cells.opening import Opening
from tests.servers.entra_identities import STORAGE
from tests.servers.google_cloud import SCOPE
from tests.servers.google_world import PREFIXES, google_world
from tests.servers.jobs import Job, until

from credbroker.credentials import ADLSCredentials, GCSCredentials
from credbroker.testing import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Move:
    """What the file says before and after; ``used`` uses a credential where it is for, and tells whose it is."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    origins: Mapping[str, str]
    location: str
    secret: str
    """The variable that holds it, which is taken away after the move."""
    used: Callable[[Any], str]
    authority: str | None = None


@contextmanager
def on_google(stage: Stage) -> Iterator[Move]:
    with google_world(stage.folder, ManualClock(datetime.now(UTC)), stage.patch) as world:
        pasted = world.google._issue(world.google.email, SCOPE)
        stage.patch.setenv("BIGLAKE_TOKEN", pasted)
        before = world.config(world.settings("key"))
        before["catalogs"]["biglake"]["credentials"] = {"mode": "static", "secret_ref": "biglake-token"}

        def used(value: Any) -> str:
            narrowed = isinstance(value, GCSCredentials)
            issued = world.google._living((value.access_token if narrowed else value.value).get_secret_value())
            assert issued is not None
            assert (issued.boundary is not None) == narrowed
            return "secret" if issued.principal == world.google.email else "pod"

        yield Move(before, world.config(world.settings("file")), world.google.origins, PREFIXES[0], "GCP_KEY", used)


@contextmanager
def on_azure(stage: Stage) -> Iterator[Move]:
    azurite = stage.fixture("azurite")
    fill(azurite)
    with at_azurite(azurite) as world:
        pasted = azurite.bearer()
        stage.patch.setenv("LAKE_TOKEN", pasted)

        def config(storage: Any, catalog: Any) -> dict[str, Any]:
            catalogs = {"biglake": {"uri": "https://lake.example", "credentials": catalog}}
            return {"environment": "development", **platform(storage), "catalogs": catalogs}

        by_secret, by_pod = (identity(world, kind, stage) for kind in ("client_secret", "web_identity variable"))
        before = config(by_secret, {"mode": "static", "secret_ref": "lake-token"})
        after = config(by_pod, {**by_pod, "platform": "azure", "scope": f"{STORAGE}/.default"})

        def used(value: Any) -> str:
            if isinstance(value, ADLSCredentials):
                assert status(azurite, value.sas_token.get_secret_value(), "read") == 200
            elif value.value.get_secret_value() == pasted:
                return "secret"
            return "pod" if "client_assertion" in world.entra.asked[-1].form else "secret"

        origins = {**world.http.origins, BLOB: azurite.url}
        yield Move(before, after, origins, f"{LAKE}/", "APP", used, azurite.authority)


@pytest.mark.parametrize("cloud", [on_google, on_azure])
def test_a_store_and_a_catalog_move_from_a_secret_to_the_pods_identity_and_no_get_fails(
    cloud: Any, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as running:
        move = running.enter_context(cloud(Stage(request.getfixturevalue, tmp_path, monkeypatch, running)))
        broker = running.enter_context(Opening(move.before, move.origins, move.authority).broker())
        lake, catalog = broker.storage("lake", move.location), broker.catalog("biglake")
        seen: list[set[str]] = []

        def work() -> None:
            seen.append({move.used(lake.get()), move.used(catalog.get())})

        with Job(work) as job:
            until(lambda: job.done >= 10)
            assert job.failures == []
            assert seen[-1] == {"secret"}
            broker.reload(move.after)
            monkeypatch.delenv(move.secret)
            until(lambda: bool(seen) and seen[-1] == {"pod"})
            done = job.done
            until(lambda: job.done >= done + 10)
        assert job.failures == []
        assert seen[-10:] == [{"pod"}] * 10
