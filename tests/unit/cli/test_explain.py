from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from credbroker.cli import main
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending import adls, gcs, s3

PLATFORM = """version: 1
environment: dev
storage:
  lake:
    region: eu-west-1
    locations: [s3://lake/sales/]
    access: read_write
    max_ttl: 15m
    credentials: {mode: iam_role, role_arn: "arn:aws:iam::123456789012:role/Pipe", credential_source: environment}
  two:
    region: eu-west-1
    locations: [s3://lake/a/, s3://lake/b/]
    endpoint: {secret_ref: no-such-secret}
    credentials: {mode: iam_role, role_arn: "arn:aws:iam::123456789012:role/Pipe", credential_source: environment}
  fixed:
    locations: [s3://lake/x/]
    allow_unscoped: true
    credentials: {mode: static, secret_ref: no-such-secret}
  archive:
    type: gcs
    locations: [gs://archive/sales/]
    credentials: {mode: service_account, credential_source: metadata}
  landing:
    type: azure
    locations: ["abfss://landing@acme.dfs.core.windows.net/sales/"]
    credentials: {mode: service_account, credential_source: managed_identity}
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    monkeypatch.chdir(tmp_path)


def explain(*arguments: str) -> int:
    return main(["explain", *arguments, "--config", "platform.yaml"])


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert explain(*arguments, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    report: dict[str, Any] = json.loads(lines[0])
    return report


def at(uri: str) -> tuple[Location, ...]:
    return (Location.parse(uri),)


def test_json_says_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    policy = s3.session_policy(at("s3://lake/sales/2026"), Access.READ)
    assert explained(capsys, "lake", "s3://lake/sales/2026") == {
        "ok": True,
        "profile": "lake",
        "where": "platform.yaml:4",
        "type": "s3",
        "mode": "iam_role",
        "locations": ["s3://lake/sales/2026/"],
        "access": "read",
        "max_ttl": 900,
        "policy": policy,
        "sizes": {"policy": {"size": len(json.dumps(policy, separators=(",", ":"))), "limit": 2048}},
    }


def test_without_a_location_it_is_the_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    report = explained(capsys, "lake", "--access", "read_write")
    assert (report["locations"], report["access"]) == (["s3://lake/sales/"], "read_write")
    assert report["policy"] == s3.session_policy(at("s3://lake/sales"), Access.READ_WRITE)


def test_several_locations_are_one_grant(capsys: pytest.CaptureFixture[str]) -> None:
    """Its endpoint is a secret, which nobody has: it is not looked at."""
    report = explained(capsys, "two", "s3://lake/b", "s3://lake/a/2026")
    assert report["locations"] == ["s3://lake/a/2026/", "s3://lake/b/"]


def test_google_shows_its_boundary_and_its_measures(capsys: pytest.CaptureFixture[str]) -> None:
    report = explained(capsys, "archive")
    boundary: Any = gcs.access_boundary(at("gs://archive/sales"), Access.READ)
    rules = boundary["accessBoundary"]["accessBoundaryRules"]
    assert report["policy"] == boundary
    assert report["sizes"] == {
        "rules": {"size": len(rules), "limit": 10},
        "longest_condition": {
            "size": max(len(rule["availabilityCondition"]["expression"]) for rule in rules),
            "limit": 2048,
        },
    }


def test_azure_shows_the_fields_of_its_signature(capsys: pytest.CaptureFixture[str]) -> None:
    report = explained(capsys, "landing")
    place = at("abfss://landing@acme.dfs.core.windows.net/sales")
    assert report["policy"] == adls.sas_fields(place, Access.READ)
    assert (report["locations"], report["type"], report["sizes"]) == ([str(place[0])], "azure", {})


def test_where_nothing_narrows_it_says_so_and_claims_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = explained(capsys, "fixed")
    assert report["ok"] is True
    assert (report["policy"], report["locations"], report["access"]) == (None, None, None)
    assert explain("fixed") == 0
    told = capsys.readouterr().out
    assert "locations  not narrowed\n" in told
    assert "none: nothing narrows what is issued here" in told


def test_lines_for_people_end_in_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("two", "s3://lake/a", "s3://lake/b") == 0
    lines, _, policy = capsys.readouterr().out.partition("{\n")
    assert lines.splitlines() == [
        "profile    two (platform.yaml:10)",
        "mode       iam_role, s3",
        "locations  s3://lake/a/",
        "           s3://lake/b/",
        "access     read",
        "life       at most 1 h (max_ttl)",
        f"policy     {len(s3.compact(json.loads('{' + policy), ()))} of 2,048 characters",
    ]
    assert json.loads("{" + policy) == s3.session_policy(at("s3://lake/a") + at("s3://lake/b"), Access.READ)


def test_a_terminal_shows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    assert explain("lake") == 0
    lines, _, policy = out.getvalue().partition("{\n")
    assert "at most 15 min (max_ttl)" in lines
    assert json.loads("{" + policy) == s3.session_policy(at("s3://lake/sales"), Access.READ)


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (["lake", "s3://lake/sales2"], 77, ["s3://lake/sales2/", "s3://lake/sales/"]),
        (["two", "s3://lake/a", "--access", "write"], 77, ["'write'", "'read'"]),
        (["two"], 78, ["name the location", "s3://lake/a/", "s3://lake/b/"]),
        (["lake", "s3://lake/sales/../finance"], 78, ["s3://lake/sales/../finance", "'..' segment"]),
        (["archive", "s3://lake/sales"], 77, ["s3://lake/sales/", "gs://archive/sales/"]),
        (["lakes"], 78, ["'lakes'", "lake"]),
    ],
)
def test_a_refusal_names_what_was_asked_and_what_is_allowed(
    arguments: list[str], code: int, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("credbroker: ")
    assert all(name in captured.err for name in names)
