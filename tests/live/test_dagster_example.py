"""examples/dagster_lakehouse as somebody uses it: one command, and its page in a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_representation.external_data import RepositorySnap
from examples.dagster_lakehouse import shop
from examples.dagster_lakehouse.__main__ import SESSION, dagster_dev
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tests.servers import browser
from tests.servers.counted import Counted

from credbroker import Broker
from credbroker.cli.demo.seaweed import SeaweedFS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[2]
MODULE = "examples.dagster_lakehouse.definitions"
QUICK = "shop_days"
ASSETS = ["raw_orders", "staged_orders", "revenue", "report"]
_MOVING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
_SECRETS = re.compile(
    rb'"(?:access_token|s3\.secret-access-key|s3\.session-token)":\s*"([^"]+)"'
    rb"|<(?:SecretAccessKey|SessionToken)>([^<]+)<"
)


@dataclass
class Overheard:
    """A store whose catalog and STS answer through proxies, which hear each secret that is handed out."""

    store: SeaweedFS
    catalog: Counted
    sts: Counted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @property
    def catalog_uri(self) -> str:
        return self.catalog.url

    @property
    def sts_endpoint(self) -> str:
        return self.sts.url

    def secrets(self) -> set[str]:
        answers = b"\n".join([*self.catalog.answers, *self.sts.answers])
        handed_out = {value.decode() for pair in _SECRETS.findall(answers) for value in pair if value}
        return {self.store.secret_key, *handed_out}


class Page:
    """What somebody does on Dagster's page, and sees there."""

    def __init__(self, driver: Chrome, url: str, folder: Path) -> None:
        self._driver = driver
        self._url = url
        self._folder = folder
        self.seen: list[str] = []

    def open(self, path: str) -> None:
        """Wait for the page as long as Dagster needs to start."""
        started = WebDriverWait(self._driver, 150, ignored_exceptions=[WebDriverException])
        started.until(lambda driver: driver.get(self._url + path) or True)

    def click(self, text: str) -> None:
        """Whatever hints lie above it are put away."""

        def clicked(driver: Chrome) -> bool:
            for hint in driver.find_elements(By.XPATH, "//button[normalize-space()='Dismiss']"):
                hint.click()
            button = driver.find_element(By.XPATH, f"//*[self::button or self::a][normalize-space()='{text}']")
            enabled = button.is_enabled()
            if enabled:
                button.click()
            return enabled

        WebDriverWait(self._driver, 60, ignored_exceptions=_MOVING).until(clicked)

    def wait_for(self, *texts: str, within: float = 60) -> str:
        """The first of ``texts`` that a line begins with: what stands beside it may stand on the same one."""

        def standing(driver: Chrome) -> str | None:
            lines = [f"{line} " for line in self._text().splitlines()]
            return next((text for text in texts if any(line.startswith(f"{text} ") for line in lines)), None)

        return WebDriverWait(self._driver, within, ignored_exceptions=_MOVING).until(standing)

    def _text(self) -> str:
        return self._driver.find_element(By.TAG_NAME, "body").text

    def look(self, name: str) -> None:
        """Keep what is shown, and a picture of it."""
        self._driver.save_screenshot(self._folder / f"{name}.png")
        self.seen += [self._text(), self._driver.page_source]

    @property
    def run_id(self) -> str:
        return self._driver.current_url.rpartition("/runs/")[2].partition("?")[0]


@pytest.fixture
def store() -> Iterator[Overheard]:
    with (
        SeaweedFS(session=SESSION) as seaweed,
        Counted(seaweed.catalog_uri) as catalog,
        Counted(seaweed.sts_endpoint) as sts,
    ):
        yield Overheard(seaweed, catalog, sts)


@pytest.fixture
def _chromium() -> None:
    if not browser.installed():
        # In CI it must be there; elsewhere a machine without it still runs all the other tests.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Chromium is not installed: {browser.INSTALL}")


def materialize_all(page: Page) -> str:
    """As somebody would, who then looks at everything there is about it. The run's id."""
    page.open(f"/locations/{MODULE}/asset-groups/lakehouse")
    for asset in (QUICK, *ASSETS):
        page.wait_for(asset)
    page.look("group")
    page.click("Materialize all")
    page.click("View")
    assert page.wait_for("Success", "Failure", within=300) == "Success"
    page.look("run")
    run_id = page.run_id
    page.click("View tags and config")
    page.wait_for("Config")
    page.look("config")
    for asset in ASSETS:
        page.open(f"/assets/{asset}?view=events")
        page.wait_for("credbroker/issues")
        page.look(asset)
    page.open(f"/assets/{QUICK}?view=checks")
    page.wait_for("can_issue")
    page.look("check")
    page.open(f"/locations/{MODULE}/resources/broker")
    page.wait_for("CREDBROKER_CONFIG")
    page.look("resource")
    return run_id


def told_of(run_id: str, home: Path) -> tuple[list[dg.EventLogEntry], dict[str, str]]:
    """The run's event log, and all that Dagster tells of the run and of the project."""
    from examples.dagster_lakehouse.definitions import defs

    with dg.DagsterInstance.from_config(str(home)) as instance:
        entries = list(instance.all_logs(run_id))
        run = instance.get_run_by_id(run_id)
        assert run is not None
        snapshot = instance.get_job_snapshot(run.job_snapshot_id or "")
        plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
    return entries, {
        "event log": "\n".join(dg.serialize_value(entry) for entry in entries),
        "run": dg.serialize_value(run) + json.dumps(run.run_config),
        "job": dg.serialize_value(snapshot) + dg.serialize_value(plan),
        "repository": dg.serialize_value(RepositorySnap.from_def(defs.get_repository_def())),
    }


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_chromium")
def test_assets_materialized_from_the_page_outlive_their_credentials_and_show_no_secret(
    store: Overheard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with dagster_dev(store) as running, browser.chromium(tmp_path / "chromium") as driver:
        page = Page(driver, running.page, tmp_path)
        run_id = materialize_all(page)
        entries, told = told_of(run_id, running.home)
        kept = {str(path): path.read_bytes().decode("latin-1") for path in running.home.rglob("*") if path.is_file()}

    made = {
        entry.asset_materialization.asset_key.to_user_string(): entry.asset_materialization.metadata
        for entry in entries
        if entry.asset_materialization is not None
    }
    assert list(made) == [QUICK, *ASSETS]
    assert made["raw_orders"]["rows"].value > made["staged_orders"]["rows"].value == shop.GOOD_ORDERS
    assert made["revenue"]["rows"] == made["report"]["rows"]

    records = [json.loads(entry.user_message) for entry in entries if entry.user_message.startswith('{"time"')]
    keys = [
        record
        for record in records
        if record["event"] == "issued" and record["kind"] == "table" and record.get("assets") == ["raw_orders"]
    ]
    assert len({record["fingerprint"] for record in keys}) == len(keys) >= 3
    # The last ones were issued, for one asset that was still at work, when the first ones had ended.
    assert datetime.fromisoformat(keys[0]["expires_at"]) < datetime.fromisoformat(keys[-1]["time"])
    assert made["raw_orders"]["credbroker/issues"].value > len(keys)

    secrets = store.secrets()
    assert len(secrets) > 2 * len(keys)
    told |= {"page": "\n".join(page.seen), "output": "".join(capfd.readouterr())}
    assert [name for name, text in told.items() if not text] == []
    assert [name for name, text in {**told, **kept}.items() if any(secret in text for secret in secrets)] == []


def test_where_the_report_could_not_be_written_the_long_work_does_not_start(
    store: Overheard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = {
        "endpoint": store.s3_endpoint,
        "credentials": {"sts_endpoint": store.sts_endpoint, "role_arn": "arn:aws:iam::123456789012:role/Nobody"},
    }
    addresses = {"catalogs": {"lakehouse": {"uri": store.catalog_uri}}, "storage": {"reports": reports}}
    (tmp_path / "addresses.yaml").write_text(yaml.safe_dump(addresses))
    platform = ROOT / "examples" / "dagster_lakehouse" / "platform.yaml"
    monkeypatch.setenv("CREDBROKER_CONFIG", os.pathsep.join([str(platform), str(tmp_path / "addresses.yaml")]))
    for name in ("LAKEHOUSE_CLIENT_ID", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, store.access_key)
    for name in ("LAKEHOUSE_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, store.secret_key)
    from examples.dagster_lakehouse.definitions import defs

    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    Broker.shared().close()
    (check,) = result.get_asset_check_evaluations()
    assert (check.asset_key.to_user_string(), check.passed) == (QUICK, False)
    assert check.metadata["credbroker/error"].value == "IssueDenied"
    started = [event.step_key for event in result.all_events if event.is_step_start]
    assert started == [QUICK, f"{QUICK}_can_issue"]


@pytest.mark.timeout(300)
def test_one_command_starts_all_and_takes_all_away(tmp_path: Path) -> None:
    # Somebody's own keys and proxy stand in the environment: none of them is used.
    ambient = {"AWS_ACCESS_KEY_ID": "not-this-one", "HTTP_PROXY": "http://127.0.0.1:9"}
    with subprocess.Popen(
        [sys.executable, "-m", "examples.dagster_lakehouse"],
        cwd=ROOT,
        env={**os.environ, **ambient, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as example:
        assert example.stdout is not None
        first = example.stdout.readline()
        served = any("Serving dagster-webserver" in line for line in example.stdout)
        example.send_signal(signal.SIGINT)
        rest = example.communicate(timeout=60)[0]
    assert re.match(r"in half a minute: http://127\.0\.0\.1:\d+/\S* ", first)
    assert served
    assert example.returncode == 130
    assert "Dagster services shut down" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
